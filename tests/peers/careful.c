/*
 * What sigshm does, in C: the same transcript and the same care. `cargo bench --bench cost` runs it beside sigshm, to
 * show what the story costs and what Rust adds to it.
 *
 * Each safeguard can be left out: `cc -DWITHOUT_REAP careful.c` makes the same program without it. `cargo test
 * --test check -- --nocapture` does so with each, and counts what goes wrong. The safeguards are
 *
 *   FLUSH        each line is written at once: a buffer would be copied by fork, and printed twice
 *   LOCK         one run at a time for each path
 *   READY        the signal is blocked from before the fork, and sent when the child has its handler; otherwise it
 *                may kill the child
 *   BLOCK        the signal cannot come between the look at the flag and the sleep
 *   INLINE_TEXT  the text lies in the struct, and not elsewhere in the parent's memory (message.h)
 *   EXCLUSIVE    a segment that is there already is somebody else's
 *   REAP         the parent waits until the child has ended, and only then removes the segment
 *   REMOVE       the segment is removed
 *   CLEANUP      the segment is removed too if SIGTERM, SIGINT or SIGHUP ends the parent
 *
 * And `-DWITH_RESETHAND` makes the handler one that is removed when its first signal comes, as signal(2) does on some
 * systems.
 *
 * To see the lines of a safeguard, with GCC:
 *
 *   diff <(gcc -E -P -fdirectives-only careful.c) <(gcc -E -P -fdirectives-only -DWITHOUT_REAP careful.c)
 *
 * Usage: careful MESSAGE PATH [exec]
 * With "exec" the child starts the program anew for its role, and so has no copy of its parent's memory.
 */
#include "message.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/select.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

/* The colours of the transcript. */
#define SENDER "\033[36m"
#define LISTENER "\033[35m"
#define RECEIVER "\033[33m"

static volatile sig_atomic_t notified;

static void handler(int sig) {
    (void)sig;
    notified = 1;
}

static int check(int result, const char *call) {
    if (result == -1) {
        perror(call);
        exit(1);
    }
    return result;
}

static key_t key_of(const char *path) {
    return check(ftok(path, 1), "ftok");
}

/* Blocks or unblocks SIGUSR1. A signal that comes while it is blocked stays pending. */
static void change_mask(int how, sigset_t *before) {
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGUSR1);
    check(sigprocmask(how, &ours, before), "sigprocmask");
}

#ifndef WITHOUT_CLEANUP
static volatile sig_atomic_t segment = -1;

/* Not on the list of signal-safety(7), but on Linux shmctl is a system call and nothing more. */
static void clean_up(int sig) {
    if (segment != -1)
        shmctl(segment, IPC_RMID, NULL);
    signal(sig, SIG_DFL);
    raise(sig); /* it comes when this handler returns */
}
#endif

/* `ready` is a pipe, into which it says that it is ready. `alive` is one that ends when the parent has ended. */
static int listener(const char *path, int ready, int alive) {
    printf(LISTENER "# Listening on PID=%d\033[0m\n", getpid());
    struct sigaction action = {.sa_handler = handler};
#ifdef WITH_RESETHAND
    action.sa_flags = SA_RESETHAND;
#endif
    check(sigaction(SIGUSR1, &action, NULL), "sigaction");
    printf(LISTENER "# Registering signal handler for SIGUSR1\033[0m\n");
#ifndef WITHOUT_BLOCK
    sigset_t while_asleep;
    change_mask(SIG_BLOCK, &while_asleep); /* main has blocked it already, unless READY is left out */
    sigdelset(&while_asleep, SIGUSR1);
#else
    change_mask(SIG_UNBLOCK, NULL);
#endif
    check(write(ready, "!", 1), "write");

    while (!notified) {
#ifndef WITHOUT_BLOCK
        /* Unblocks the signal and sleeps, in one. */
        fd_set fds;
        FD_ZERO(&fds);
        FD_SET(alive, &fds);
        if (pselect(alive + 1, &fds, NULL, NULL, NULL, &while_asleep) != -1)
            return 1; /* the parent has ended */
        if (errno != EINTR)
            check(-1, "pselect");
#else
        (void)alive; /* pause(2) cannot watch it: if the parent fails, this child waits on */
        pause();
#endif
    }

    int id = check(shmget(key_of(path), SEGMENT_SIZE, 0), "shmget");
    s_message *shared = shmat(id, NULL, SHM_RDONLY);
    if (shared == (void *)-1)
        check(-1, "shmat");
    s_message message = *shared;
    check(shmdt(shared), "shmdt");
    if (message.id != 1 || message.size >= TEXT_CAPACITY)
        return 1;
    printf(RECEIVER "# PID=%d received signal %d\033[0m\n", getpid(), SIGUSR1);
    printf(RECEIVER "# Received: %.*s\033[0m\n", (int)message.size, message.text);
    return 0;
}

/* The listener's role in a program of its own. It inherits the mask and the descriptors. */
static int exec_listener(char *program, char *path, int ready, int alive) {
    char numbers[2][12];
    snprintf(numbers[0], sizeof numbers[0], "%d", ready);
    snprintf(numbers[1], sizeof numbers[1], "%d", alive);
    return check(execl(program, program, "listener", path, numbers[0], numbers[1], NULL), "execl");
}

int main(int argc, char **argv) {
#ifndef WITHOUT_FLUSH
    setvbuf(stdout, NULL, _IOLBF, 0); /* a line, a write */
#endif
    if (argc == 5)
        return listener(argv[2], atoi(argv[3]), atoi(argv[4]));
    if (argc < 3 || strlen(argv[1]) >= TEXT_CAPACITY) {
        fprintf(stderr, "usage: careful MESSAGE PATH [exec]\n");
        return 2;
    }
    char *path = argv[2];
#ifndef WITHOUT_LOCK
    int lock = check(open(path, O_RDONLY), "open");
    check(flock(lock, LOCK_EX), "flock");
#endif
#ifndef WITHOUT_READY
    change_mask(SIG_BLOCK, NULL); /* in the child too, from its start */
#endif

    s_message message = {.id = 1, .size = strlen(argv[1])};
    printf("# Message size is: %zu\n", message.size);
    printf("# Creating message object.\n");
#ifndef WITHOUT_INLINE_TEXT
    memcpy(message.text, argv[1], message.size);
#else
    message.text = strdup(argv[1]);
#endif

    int ready[2], alive[2];
    check(pipe(ready), "pipe");
    check(pipe(alive), "pipe");
    printf("# Forking...\n");
    pid_t child = check(fork(), "fork");
    if (child == 0) {
        close(ready[0]);
        close(alive[1]);
        return argc == 4 ? exec_listener(argv[0], path, ready[1], alive[0]) : listener(path, ready[1], alive[0]);
    }
    close(ready[1]);
    close(alive[0]);
#ifndef WITHOUT_READY
    char byte;
    if (check(read(ready[0], &byte, 1), "read") != 1)
        return 1;
#endif

    printf(SENDER "# Writing message to shared memory a new message.\033[0m\n");
    printf(SENDER "\tid=%d\033[0m\n", message.id);
    printf(SENDER "\ttext:%s.\033[0m\n", message.text);
    int flags = IPC_CREAT | 0600;
#ifndef WITHOUT_EXCLUSIVE
    flags |= IPC_EXCL;
#endif
#ifndef WITHOUT_CLEANUP
    struct sigaction ending = {.sa_handler = clean_up};
    sigset_t before;
    sigaddset(&ending.sa_mask, SIGTERM);
    sigaddset(&ending.sa_mask, SIGINT);
    sigaddset(&ending.sa_mask, SIGHUP);
    check(sigaction(SIGTERM, &ending, NULL), "sigaction");
    check(sigaction(SIGINT, &ending, NULL), "sigaction");
    check(sigaction(SIGHUP, &ending, NULL), "sigaction");
    check(sigprocmask(SIG_BLOCK, &ending.sa_mask, &before), "sigprocmask"); /* until its id is known */
#endif
    int id = check(shmget(key_of(path), SEGMENT_SIZE, flags), "shmget");
#ifndef WITHOUT_CLEANUP
    segment = id;
    check(sigprocmask(SIG_SETMASK, &before, NULL), "sigprocmask");
#endif
    s_message *shared = shmat(id, NULL, 0);
    if (shared == (void *)-1)
        check(-1, "shmat");
    *shared = message;
    check(kill(child, SIGUSR1), "kill");

    int status = 0;
#ifndef WITHOUT_REAP
    check(waitpid(child, &status, 0), "waitpid");
#endif
    printf("# All done. Freeing memory.\n");
    check(shmdt(shared), "shmdt");
#ifndef WITHOUT_REMOVE
    check(shmctl(id, IPC_RMID, NULL), "shmctl");
#endif
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
