/*
 * A listener in C, which shares nothing with the sender but a path.
 *
 *     listener PATH
 *
 * It does what `sigshm --listen --path PATH` does, in plain POSIX and in the article's order. Prints its PID and
 * waits for SIGUSR1; prints the message and ends. To stay short it prints the bytes as they are, and takes what lies
 * there from whoever has put it there.
 */
#include "message.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

static volatile sig_atomic_t notified;

static void handler(int sig) {
    (void)sig;
    notified = 1; /* nothing else is safe here: signal-safety(7) */
}

static void fail(const char *call) {
    perror(call);
    exit(1);
}

/* Returns whether there was a message. */
static int look(const char *path) {
    key_t key = ftok(path, 1);
    if (key == -1)
        fail("ftok");
    int id = shmget(key, SEGMENT_SIZE, 0);
    if (id == -1)
        return 0; /* somebody else's signal: there is no segment */
    const s_message *shared = shmat(id, NULL, SHM_RDONLY);
    if (shared == (void *)-1)
        return 0;
    /* The id is written last, so it is read first. The rest is copied once, and only then looked at: the sender could
       still write. */
    int id_there = __atomic_load_n(&shared->id, __ATOMIC_ACQUIRE);
    s_message message = *shared;
    shmdt(shared);

    if (id_there == 0)
        return 0; /* a segment, but nothing in it yet */
    if (message.id != 1 || message.size >= TEXT_CAPACITY || message.text[TEXT_CAPACITY - 1] != '\0') {
        fprintf(stderr, "listener: what the segment holds is not a message\n");
        exit(1);
    }
    printf("# PID=%d received signal %d\n# Received: ", getpid(), SIGUSR1);
    fwrite(message.text, 1, message.size, stdout);
    printf("\n");
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: listener PATH\n");
        return 2;
    }
    /* SIGUSR1 waits until sigsuspend lets it in: otherwise it could come between the look at the flag and the sleep,
       and be slept through. */
    sigset_t blocked, waiting;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, &waiting);
    sigdelset(&waiting, SIGUSR1);
    struct sigaction action = {.sa_handler = handler};
    if (sigaction(SIGUSR1, &action, NULL) == -1)
        fail("sigaction");
    printf("# Listening on PID=%d\n", getpid());
    fflush(stdout);

    do {
        while (!notified)
            sigsuspend(&waiting);
        notified = 0;
    } while (!look(argv[1]));
    return 0;
}
