"""time_model (time_model.c) as a process that runs a model when told to."""
import os
import subprocess


class Ours:
    def __init__(self, program, path, feeds, folder):
        words = []
        for n, (name, value) in enumerate(feeds.items()):
            file = os.path.join(folder, f"input{n}")
            value.tofile(file)
            dtype = {"float32": "float", "float64": "double"}.get(str(value.dtype), value.dtype)
            words.append(f"{name}={dtype}={'x'.join(map(str, value.shape))}={file}")
        self.process = subprocess.Popen([program, path] + words, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.folder = folder

    def order(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"time_model ended with {self.process.wait()}")
        return answer

    def run(self):
        return int(self.order("run")) / 1e9

    def outputs(self):
        file = os.path.join(self.folder, "outputs")
        self.order(f"save {file}")
        return open(file, "rb").read()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
