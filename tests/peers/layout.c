/* Prints how the C compiler lays out the struct: its size and alignment, and where each field is
 * and how wide. Then it writes a message. */
#include "message.h"

#include <stdio.h>

#define FIELD(name) offsetof(s_message, name), sizeof message.name

int main(void) {
    static s_message message = {.id = 1, .size = 6, .text = "from C"};
    printf("%zu %zu %zu %zu %zu %zu %zu %zu\n", sizeof message, _Alignof(s_message), FIELD(id),
           FIELD(size), FIELD(text));
    return fwrite(&message, sizeof message, 1, stdout) == 1 ? 0 : 1;
}
