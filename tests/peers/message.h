/* The bytes that every peer agrees on, in C; src/message.rs has them in Rust. */
#ifndef MESSAGE_H
#define MESSAGE_H

#include <stddef.h>

#define SEGMENT_SIZE 1024
#define TEXT_CAPACITY (SEGMENT_SIZE - 2 * sizeof(size_t))

typedef struct {
    int id; /* 1; 0 while there is no message yet */
    size_t size; /* of the text in bytes, without the NUL */
#ifndef WITHOUT_INLINE_TEXT
    char text[TEXT_CAPACITY]; /* ends in NUL; the last byte is always NUL */
#else /* as in the article; see careful.c */
    char *text;
#endif
} s_message;

#endif
