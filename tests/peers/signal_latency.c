/*
 * A message of 1024 bytes to another process and one back, over and over: through shared memory, announced by a signal,
 * the receiver asleep. `cargo bench --bench latency` runs it beside sigshm's own way, to show what Rust adds.
 *
 * Usage: signal_latency WARM_UP COUNT PROCESSOR PROCESSOR
 * Prints the time of each of COUNT round trips, in nanoseconds. The two processes run on the given processors.
 */
#define _GNU_SOURCE /* for sched_setaffinity */

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/select.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORDS 256 /* of 4 bytes; the first one counts the messages */

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

static void *attach(int id, int flags) {
    void *address = shmat(id, NULL, flags);
    if (address == (void *)-1)
        check(-1, "shmat");
    return address;
}

static void run_on(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    check(sched_setaffinity(0, sizeof set, &set), "sched_setaffinity");
}

static int64_t now(void) {
    struct timespec time;
    check(clock_gettime(CLOCK_MONOTONIC, &time), "clock_gettime");
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static uint32_t *out;      /* the segment, attached to write to */
static const uint32_t *in; /* the same segment, attached to read from */
static pid_t peer;
static int alive; /* a pipe whose other end the peer has */
static sigset_t while_asleep; /* the mask that lets the signal in */

static void send_message(uint32_t number) {
    static uint32_t message[WORDS];
    message[0] = number;
    memcpy(out, message, sizeof message);
    check(kill(peer, SIGUSR1), "kill");
}

static void receive_message(uint32_t number) {
    static uint32_t message[WORDS];
    while (!notified) {
        fd_set fds;
        FD_ZERO(&fds);
        FD_SET(alive, &fds);
        if (pselect(alive + 1, &fds, NULL, NULL, NULL, &while_asleep) != -1)
            exit(1); /* the peer has ended */
        if (errno != EINTR)
            check(-1, "pselect");
    }
    notified = 0;
    memcpy(message, in, sizeof message);
    if (message[0] != number) {
        fprintf(stderr, "message %u came, and %u was expected\n", message[0], number);
        exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: signal_latency WARM_UP COUNT PROCESSOR PROCESSOR\n");
        return 2;
    }
    alarm(300); /* ends it if something hangs */
    uint32_t warm_up = atoi(argv[1]), all = warm_up + atoi(argv[2]);
    int64_t *times = calloc(all, sizeof *times);
    if (!times)
        check(-1, "calloc");
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGUSR1);
    check(sigprocmask(SIG_BLOCK, &ours, &while_asleep), "sigprocmask");
    sigdelset(&while_asleep, SIGUSR1);
    struct sigaction action = {.sa_handler = handler};
    check(sigaction(SIGUSR1, &action, NULL), "sigaction");
    int id = check(shmget(IPC_PRIVATE, WORDS * sizeof(uint32_t), IPC_CREAT | 0600), "shmget");
    out = attach(id, 0);
    in = attach(id, SHM_RDONLY);
    check(shmctl(id, IPC_RMID, NULL), "shmctl"); /* it goes when both have ended */
    int pipes[2][2];
    check(pipe(pipes[0]), "pipe");
    check(pipe(pipes[1]), "pipe");

    pid_t parent = getpid();
    pid_t child = check(fork(), "fork");
    int is_child = child == 0;
    alive = pipes[is_child][0];
    close(pipes[is_child][1]);
    close(pipes[!is_child][0]);
    run_on(atoi(argv[3 + is_child]));
    if (is_child) {
        peer = parent;
        for (uint32_t trip = 0; trip < all; trip++) {
            receive_message(2 * trip + 1);
            send_message(2 * trip + 2);
        }
        /* If this process ended now, its pipe would close and wake the parent too early. */
        char byte;
        return check(read(alive, &byte, 1), "read");
    }
    peer = child;
    for (uint32_t trip = 0; trip < all; trip++) {
        int64_t start = now();
        send_message(2 * trip + 1);
        receive_message(2 * trip + 2);
        times[trip] = now() - start;
    }
    int status;
    close(pipes[1][1]); /* the child reads the end */
    check(waitpid(child, &status, 0), "waitpid");
    for (uint32_t trip = warm_up; trip < all; trip++)
        printf("%lld\n", (long long)times[trip]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
