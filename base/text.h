/* Numbers as people read them. Each returns ret. */
#ifndef MC_BASE_TEXT_H
#define MC_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

enum { MC_TEXT = 32 };

/* Three digits and a decimal unit: "932 kB", "3.73 MB"; below 1000 exact: "512 B". */
const char *mc_text_bytes(double bytes, char ret[MC_TEXT]);
/* The same without the B: "932 k", "0", "1.20 G". */
const char *mc_text_count(double n, char ret[MC_TEXT]);
/* All digits in groups of three: "10,000". */
const char *mc_text_group(int64_t n, char ret[MC_TEXT]);
/* "0.4 s", "12 s", "3 min 20 s", "2 h 5 min". */
const char *mc_text_seconds(double s, char ret[MC_TEXT]);
/* Three digits of a short time: "43.1 µs", "4.31 ms", "1.20 s", "250 s". */
const char *mc_text_duration(double s, char ret[MC_TEXT]);

/* Bytes of the UTF-8 character at s (1 to 4; 1 for the end), or 0 where there is none. */
size_t mc_text_character(const char *s);
/* UTF-8 text of at most `most` (> 0) characters: what is too long loses its middle, "/encoder…MatMul". Bytes that are no
 * UTF-8 become '?'. ret[size] must have 4 bytes for each character and one more. */
const char *mc_text_short(const char *s, size_t most, char *ret, size_t size);

/* Put more behind the text in ret[size], as printf does; what has no room is cut off. Returns ret. */
const char *mc_text_add(char *ret, size_t size, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
