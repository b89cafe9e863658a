"""Models that call model-local functions, as (name, model, inputs). Functions take attributes with and without
defaults, leave inputs and outputs out, call each other, hold bodies, and share names with their callers."""
import numpy as np
from onnx import TensorProto, helper as h

RNG = np.random.default_rng(5)


def floats(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def tensor(name, array):
    from onnx import numpy_helper
    return numpy_helper.from_array(np.asarray(array), name)


def node(op, inputs, outputs, domain="", **attrs):
    return h.make_node(op, inputs, outputs, domain=domain, **attrs)


def ref(n, name, target, kind):
    """Attribute `name` of n is the function's attribute `target`."""
    a = n.attribute.add()
    a.name, a.ref_attr_name, a.type = name, target, kind
    return n


def function(name, inputs, outputs, nodes, opset=17, attrs=(), defaults=(), domain="local", imports=()):
    return h.make_function(domain, name, inputs, outputs, nodes,
                           [h.make_opsetid("", opset), h.make_opsetid("local", 1), *imports],
                           attributes=list(attrs),
                           attribute_protos=[h.make_attribute(k, v) for k, v in defaults])


def model(nodes, functions, inputs=(("x", (2, 3)),), outputs=("y",), inits=(), opset=17, ir=8):
    values = [h.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs]
    g = h.make_graph(nodes, "main", values, [h.make_tensor_value_info(n, TensorProto.FLOAT, None)
                                             for n in outputs], list(inits))
    return h.make_model(g, functions=functions, ir_version=ir,
                        opset_imports=[h.make_opsetid("", opset), h.make_opsetid("local", 1)])


def call(name, inputs, outputs, **attrs):
    return node(name, inputs, outputs, "local", **attrs)


def attributes():
    body = [ref(node("LeakyRelu", ["a"], ["t"]), "alpha", "slope", 1),
            ref(node("Elu", ["t"], ["u"]), "alpha", "alpha", 1),
            ref(node("Transpose", ["u"], ["b"]), "perm", "perm", 7)]
    f = function("F", ["a"], ["b"], body, attrs=["slope", "perm"], defaults=[("alpha", 0.5)])
    return model([call("F", ["x"], ["t"], slope=0.25, perm=[1, 0]),
                  call("F", ["t"], ["u"], slope=0.75, perm=[1, 0], alpha=2.0),
                  call("F", ["u"], ["y"])], [f])


def same_names():
    """The body's names are those of the main graph, and of its outputs."""
    f = function("F", ["y", "x"], ["t"], [node("Sub", ["y", "x"], ["u"]), node("Mul", ["u", "y"], ["t"])])
    return model([call("F", ["x", "x2"], ["t"]), call("F", ["t", "x"], ["u"]),
                  call("F", ["u", "t"], ["y"])], [f], [("x", (2, 3)), ("x2", (2, 3))])


def left_out():
    """An optional input in the middle, outputs that are not wanted, an input that goes through to Clip."""
    f = function("F", ["a", "low", "high"], ["b", "c", "d"],
                 [node("Clip", ["a", "low", "high"], ["b"]), node("Neg", ["b"], ["c"]),
                  node("Abs", ["c"], ["d"])])
    high = tensor("high", np.float32(0.5))
    return model([call("F", ["x", "", "high"], ["t", "", ""]), call("F", ["t"], ["", "y", ""]),
                  call("F", ["x", "", "high"], ["", "", "z"])], [f], outputs=["y", "z"], inits=[high])


def passed_on():
    """Outputs that are an input of the function, the same value twice, and a constant."""
    f = function("F", ["a"], ["a", "b", "b", "c"],
                 [node("Neg", ["a"], ["b"]), node("Constant", [], ["c"], value_float=3.0)])
    return model([call("F", ["x"], ["p", "q", "r", "s"]), node("Sum", ["p", "q", "r", "s"], ["t"]),
                  call("F", ["t"], ["y", "", "", "z"])], [f], outputs=["y", "z"])


def nested():
    f = function("F", ["a"], ["b"], [ref(node("LeakyRelu", ["a"], ["b"]), "alpha", "alpha", 1)],
                 defaults=[("alpha", 0.1)])
    inner = ref(call("F", ["a"], ["t"]), "alpha", "slope", 1)
    g = function("G", ["a"], ["b"], [inner, call("F", ["t"], ["u"]), node("Add", ["u", "a"], ["b"])],
                 attrs=["slope"])
    k = function("K", ["a"], ["b"], [call("G", ["a"], ["t"], slope=0.3), call("G", ["t"], ["b"])])
    return model([call("K", ["x"], ["t"]), call("K", ["t"], ["y"])], [k, f, g])


def branch(name, out, nodes, inits=()):
    return h.make_graph(nodes, name, [], [h.make_tensor_value_info(out, TensorProto.FLOAT, None)],
                        list(inits))


def bodies():
    """An If in a function: its branches take inputs of the function, an attribute, and call a function."""
    f = function("F", ["a"], ["b"], [node("Neg", ["a"], ["b"])])
    then = branch("t", "r", [ref(node("LeakyRelu", ["p"], ["q"]), "alpha", "slope", 1),
                             node("Add", ["q", "k"], ["r"])], [tensor("k", np.float32(2))])
    other = branch("e", "r", [call("F", ["p"], ["q"]), node("Mul", ["q", "p"], ["r"])])
    test = [node("ReduceSum", ["p"], ["s"], keepdims=0), node("Constant", [], ["zero"], value_float=0.0),
            node("Greater", ["s", "zero"], ["c"]),
            node("If", ["c"], ["r"], then_branch=then, else_branch=other)]
    g = function("G", ["p"], ["r"], test, attrs=["slope"])
    return model([call("G", ["x"], ["t"], slope=0.5), node("Neg", ["t"], ["u"]),
                  call("G", ["u"], ["y"], slope=0.5)], [f, g])


def loops():
    """A Loop in a function whose body captures an input of the function."""
    info = h.make_tensor_value_info
    body = h.make_graph([node("Mul", ["v", "p"], ["w"]), node("Add", ["w", "p"], ["v2"]),
                         node("Identity", ["go"], ["go2"]), node("Identity", ["v2"], ["row"])],
                        "body", [info("i", TensorProto.INT64, []), info("go", TensorProto.BOOL, []),
                                 info("v", TensorProto.FLOAT, [2, 3])],
                        [info("go2", TensorProto.BOOL, []), info("v2", TensorProto.FLOAT, [2, 3]),
                         info("row", TensorProto.FLOAT, [2, 3])])
    f = function("F", ["p"], ["last", "rows"],
                 [node("Constant", [], ["n"], value_int=3), node("Loop", ["n", "", "p"], ["last", "rows"], body=body)])
    return model([call("F", ["x"], ["t", "y"]), call("F", ["t"], ["z", ""])], [f], outputs=["y", "z"])


def in_branch():
    """Calls in the branches of the main graph, with captured values."""
    f = function("F", ["a", "b"], ["c"], [node("Sub", ["a", "b"], ["t"]), node("Exp", ["t"], ["c"])])
    then = branch("t", "r", [call("F", ["x", "h"], ["r"])])
    other = branch("e", "r", [call("F", ["h", "x"], ["q"]), node("Neg", ["q"], ["r"])])
    return model([node("Tanh", ["x"], ["h"]), node("ReduceSum", ["x"], ["s"], keepdims=0),
                  node("Constant", [], ["zero"], value_float=0.0), node("Less", ["s", "zero"], ["c"]),
                  node("If", ["c"], ["y"], then_branch=then, else_branch=other)], [f])


def overloads():
    f = function("F", ["a"], ["b"], [node("Neg", ["a"], ["b"])])
    g = function("F", ["a"], ["b"], [node("Exp", ["a"], ["b"])])
    g.overload = "second"
    c = call("F", ["t"], ["y"])
    c.overload = "second"
    return model([call("F", ["x"], ["t"]), c], [f, g], ir=10)


def deep():
    """A chain of functions, each with one call of the next; twenty deep, twice."""
    chain = [function("F0", ["a"], ["b"], [node("Neg", ["a"], ["b"])])]
    for i in range(1, 20):
        chain.append(function(f"F{i}", ["a"], ["b"], [call(f"F{i - 1}", ["a"], ["t"]),
                                                     node("Sub", ["a", "t"], ["b"])]))
    return model([call("F19", ["x"], ["t"]), call("F19", ["t"], ["u"]), node("Tanh", ["u"], ["y"])], chain)


def weights():
    """A linear layer as exporters write it: the weight is an input of the function, the bias in its body."""
    f = function("Linear", ["a", "w"], ["b"],
                 [node("Transpose", ["w"], ["wt"], perm=[1, 0]), node("MatMul", ["a", "wt"], ["p"]),
                  node("Constant", [], ["bias"], value=tensor("", floats(40))), node("Add", ["p", "bias"], ["b"])])
    f2 = function("Last", ["a"], ["b"],
                  [node("Constant", [], ["w"], value=tensor("", floats(40, 30))), node("MatMul", ["a", "w"], ["b"])])
    return model([call("Linear", ["x", "w1"], ["t"]), node("Relu", ["t"], ["u"]),
                  call("Linear", ["u", "w2"], ["v"]), call("Last", ["v"], ["y"])], [f, f2],
                 [("x", ("batch", 36))], inits=[tensor("w1", floats(40, 36)), tensor("w2", floats(40, 40))])


# What ONNX Runtime refuses though the standard allows it, in closed form.
def left_out_by_hand(x):
    t = np.minimum(x, 0.5)
    return [-t, np.abs(t)]


def passed_on_by_hand(x):
    return [3 - x, np.float32(3)]


BY_HAND = {"left_out": left_out_by_hand, "passed_on": passed_on_by_hand}
MODELS = [attributes, same_names, left_out, passed_on, nested, bodies, loops, in_branch, overloads, deep,
          weights]


def feeds(m):
    return {v.name: floats(*[d.dim_value or 5 for d in v.type.tensor_type.shape.dim])
            for v in m.graph.input}
