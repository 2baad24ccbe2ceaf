/*
 * A sender in C, which shares nothing with the listener but a path.
 *
 *     sender PATH PID MESSAGE
 *
 * It does what `sigshm --path PATH --to PID MESSAGE` does, in plain POSIX and in the article's order, but is
 * short: it does not look whether PID has a handler, so be sure that it has; it removes no segment that somebody has
 * left behind, nor its own if a signal kills it; and it believes that the message has been read as soon as PID has
 * looked, even if somebody else's signal made it look before the message was there.
 */
#include "message.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <time.h>
#include <unistd.h>

static int id = -1;

static void remove_segment(void) {
    if (id != -1)
        shmctl(id, IPC_RMID, NULL);
}

static void fail(const char *call) {
    perror(call);
    exit(1);
}

/* The kernel's record says it: the listener was the last to attach or detach, and only we are attached now. */
static int is_read_by(pid_t listener) {
    struct shmid_ds record;
    if (shmctl(id, IPC_STAT, &record) == -1)
        fail("shmctl");
    return record.shm_lpid == listener && record.shm_nattch == 1;
}

int main(int argc, char **argv) {
    /* To kill, 0 and less mean several processes. */
    pid_t listener = argc == 4 ? atoi(argv[2]) : 0;
    if (listener <= 0 || strlen(argv[3]) >= TEXT_CAPACITY) {
        fprintf(stderr, "usage: sender PATH PID MESSAGE\n");
        return 2;
    }
    const char *path = argv[1];
    s_message message = {.id = 1, .size = strlen(argv[3])};
    strcpy(message.text, argv[3]);

    /* One sender at a time; the kernel gives the lock back when we end. */
    int file = open(path, O_RDONLY);
    if (file == -1 || flock(file, LOCK_EX) == -1)
        fail(path);
    key_t key = ftok(path, 1);
    if (key == -1)
        fail("ftok");
    id = shmget(key, SEGMENT_SIZE, IPC_CREAT | IPC_EXCL | 0600);
    if (id == -1)
        fail("shmget");
    atexit(remove_segment);
    s_message *shared = shmat(id, NULL, 0);
    if (shared == (void *)-1)
        fail("shmat");
    /* The id last: a listener that somebody else wakes must not find half a message. */
    memcpy((char *)shared + sizeof(int), (char *)&message + sizeof(int), sizeof(message) - sizeof(int));
    __atomic_store_n(&shared->id, message.id, __ATOMIC_RELEASE);

    if (kill(listener, SIGUSR1) == -1)
        fail("kill");
    const struct timespec interval = {.tv_nsec = 1000000}; /* nobody says that it has been read */
    for (int waited = 0; !is_read_by(listener); waited++) {
        if (waited == 5000) {
            fprintf(stderr, "sender: PID %d has not read the message\n", listener);
            return 1;
        }
        nanosleep(&interval, NULL);
    }
    printf("# All done. Freeing memory.\n");
    shmdt(shared);
    return 0;
}
