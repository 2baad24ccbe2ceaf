/*
 * Programs that send a message to a process of their own, in other ways than sigshm does. The check of programs
 * (tests/check/) must find nothing broken in these:
 *
 *   (no switch)    a segment without a key, removed right after both processes have attached it
 *   POSIX          POSIX shared memory, removed as early
 *   THREAD         a thread of the child waits for the signal, without a handler
 *   GRANDCHILD     no shared memory and no signal: a pipe, to a grandchild that nobody reaps but init
 *
 * And in each of these one thing:
 *
 *   WITH_PRINTF    the handler calls printf
 *   WITH_SLEEP     the parent sleeps, and hopes that the handler is there then
 *   WITH_HANG      the parent waits for an answer from a pipe that it could write to itself, so it sees no end
 *   WITH_CUT       255 bytes are sent at most
 *   WITH_ZERO      the exit status is 0 in any case
 *
 * Usage: designs MESSAGE PATH
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE 1008

static int check(int result, const char *call) {
    if (result == -1) {
        perror(call);
        exit(1);
    }
    return result;
}

/* Standard output may be a pipe, so each line is written at once. */
static void say(const char *what, const char *text) {
    printf("%d: %s: %s\n", getpid(), what, text);
    fflush(stdout);
}

#ifndef GRANDCHILD
static volatile sig_atomic_t notified;
#ifdef WITH_HANG
static int answer[2];
#endif

static void handler(int sig) {
    (void)sig;
    notified = 1;
#ifdef WITH_PRINTF
    printf("notified\n");
#endif
}

/* Nobody else finds it, and it vanishes with the two processes. No signal may come before that is so. */
static char *shared_memory(void) {
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
#ifdef POSIX
    char name[32];
    snprintf(name, sizeof name, "/designs-%d", getpid());
    int file = check(shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600), "shm_open");
    shm_unlink(name);
    check(ftruncate(file, SIZE), "ftruncate");
    char *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
#else
    int id = check(shmget(IPC_PRIVATE, SIZE, 0600), "shmget");
    char *memory = shmat(id, NULL, 0); /* the child will have it too */
    shmctl(id, IPC_RMID, NULL);
#endif
    sigprocmask(SIG_SETMASK, &before, NULL);
    return memory;
}

static void listener(char *memory, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        exit(1);
    sigset_t all, usr1;
    sigfillset(&all);
    sigdelset(&all, SIGUSR1);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
#ifdef THREAD
    int sig;
    sigwait(&usr1, &sig);
#else
#ifdef WITH_SLEEP
    sigprocmask(SIG_BLOCK, &usr1, NULL); /* as the others, but a signal that comes before this kills */
    signal(SIGUSR1, handler);
#endif
    while (!notified)
        sigsuspend(&all);
#endif
    say("Received", memory);
#ifdef WITH_HANG
    check(write(answer[1], "!", 1), "write");
#endif
    exit(0);
}

#ifdef THREAD
static pid_t main_process;

static void *thread(void *memory) {
    listener(memory, main_process);
    return NULL;
}
#endif

static int send(const char *message) {
    char *memory = shared_memory();
#ifdef WITH_CUT
    strncpy(memory, message, 255);
#else
    strcpy(memory, message);
#endif
#ifdef WITH_HANG
    check(pipe(answer), "pipe");
#endif
#ifndef WITH_SLEEP
    signal(SIGUSR1, handler);
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, NULL); /* in the child too, which lets it in when it sleeps */
#endif
    pid_t parent = getpid(), child = check(fork(), "fork");
    if (child == 0) {
#ifdef THREAD
        pthread_t other;
        main_process = parent;
        pthread_create(&other, NULL, thread, memory);
        pthread_join(other, NULL);
#endif
        listener(memory, parent);
    }
#ifdef WITH_SLEEP
    usleep(20000);
#endif
    kill(child, SIGUSR1);
#ifdef WITH_HANG
    char byte;
    check(read(answer[0], &byte, 1), "read");
#endif
    int status;
    check(waitpid(child, &status, 0), "waitpid");
    return status != 0;
}

#else

static int send(const char *message) {
    int to[2], answer[2], status;
    check(pipe(to), "pipe");
    check(pipe(answer), "pipe");
    pid_t child = check(fork(), "fork");
    if (child == 0) {
        if (check(fork(), "fork") > 0)
            _exit(0);
        close(to[1]);
        char text[SIZE] = "", byte = 0;
        size_t length = 0;
        for (ssize_t more; (more = read(to[0], text + length, SIZE - length)) > 0;)
            length += more;
        if (length == 0)
            _exit(1); /* the sender has gone */
        say("Received", text);
        write(answer[1], &byte, 1);
        _exit(0);
    }
    close(to[0]);
    close(answer[1]);
    signal(SIGPIPE, SIG_IGN);
    waitpid(child, &status, 0);
    if (write(to[1], message, strlen(message) + 1) == -1)
        return 1;
    close(to[1]);
    char byte;
    return read(answer[0], &byte, 1) != 1;
}
#endif

int main(int argc, char **argv) {
    if (argc != 3 || strlen(argv[1]) >= SIZE) {
        fprintf(stderr, "usage: designs MESSAGE PATH\n");
        return 2;
    }
    say("Path", argv[2]);
    say("Path, once more", argv[2]);
    say("Path, once more", argv[2]);
    int status = send(argv[1]);
#ifdef WITH_ZERO
    status = 0;
#endif
    return status;
}
