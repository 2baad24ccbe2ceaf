/*
 * What sigshm does, in C: the same transcript and the same care (lock, handshake, exclusive creation, reaping,
 * removal). The benchmark runs it beside sigshm, to show what the story costs and what Rust adds to it.
 *
 * Usage: careful MESSAGE PATH
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

static int listener(const char *path, int ready, int alive, const sigset_t *waiting) {
    printf("\033[35m# Listening on PID=%d\033[0m\n", getpid());
    struct sigaction action = {.sa_handler = handler};
    check(sigaction(SIGUSR1, &action, NULL), "sigaction");
    printf("\033[35m# Registering signal handler for SIGUSR1\033[0m\n");
    check(write(ready, "!", 1), "write");

    while (!notified) {
        fd_set fds;
        FD_ZERO(&fds);
        FD_SET(alive, &fds);
        if (pselect(alive + 1, &fds, NULL, NULL, NULL, waiting) != -1)
            return 1; /* the parent has ended */
        if (errno != EINTR)
            check(-1, "pselect");
    }

    int id = check(shmget(key_of(path), SEGMENT_SIZE, 0), "shmget");
    s_message *shared = shmat(id, NULL, SHM_RDONLY);
    if (shared == (void *)-1)
        check(-1, "shmat");
    s_message message = *shared;
    check(shmdt(shared), "shmdt");
    if (message.id != 1 || message.size >= TEXT_CAPACITY)
        return 1;
    printf("\033[33m# PID=%d received signal %d\033[0m\n", getpid(), SIGUSR1);
    printf("\033[33m# Received: %.*s\033[0m\n", (int)message.size, message.text);
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 3 || strlen(argv[1]) >= TEXT_CAPACITY) {
        fprintf(stderr, "usage: careful MESSAGE PATH\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0); /* a line, a write */
    const char *path = argv[2];
    int lock = check(open(path, O_RDONLY), "open");
    check(flock(lock, LOCK_EX), "flock");

    sigset_t ours, waiting;
    sigemptyset(&ours);
    sigaddset(&ours, SIGUSR1);
    check(sigprocmask(SIG_BLOCK, &ours, &waiting), "sigprocmask");

    s_message message = {.id = 1, .size = strlen(argv[1])};
    printf("# Message size is: %zu\n", message.size);
    printf("# Creating message object.\n");
    memcpy(message.text, argv[1], message.size);

    int ready[2], alive[2];
    check(pipe(ready), "pipe");
    check(pipe(alive), "pipe");
    printf("# Forking...\n");
    pid_t child = check(fork(), "fork");
    if (child == 0) {
        close(ready[0]);
        close(alive[1]);
        return listener(path, ready[1], alive[0], &waiting);
    }
    close(ready[1]);
    close(alive[0]);
    char byte;
    if (check(read(ready[0], &byte, 1), "read") != 1)
        return 1;

    printf("\033[36m# Writing message to shared memory a new message.\033[0m\n");
    printf("\033[36m\tid=%d\033[0m\n", message.id);
    printf("\033[36m\ttext:%s.\033[0m\n", message.text);
    int id = check(shmget(key_of(path), SEGMENT_SIZE, IPC_CREAT | IPC_EXCL | 0600), "shmget");
    s_message *shared = shmat(id, NULL, 0);
    if (shared == (void *)-1)
        check(-1, "shmat");
    *shared = message;
    check(kill(child, SIGUSR1), "kill");

    int status;
    check(waitpid(child, &status, 0), "waitpid");
    printf("# All done. Freeing memory.\n");
    check(shmdt(shared), "shmdt");
    check(shmctl(id, IPC_RMID, NULL), "shmctl");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
