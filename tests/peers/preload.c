/* A library that is loaded before the program (LD_PRELOAD), and changes what it sees of the system:
   -DEXIT_42: it ends with this status, so it has loaded the library
   -DFAKE_USER: geteuid(2) and its like say 0, as under fakeroot(1)
   -DCHANGING_INODES: each look at a file finds another inode number, as with some FUSE file systems
   -DTWO_INODES: a look at a path finds another one than a look at the open file, and always the same
   -DTHREAD: a thread of its own, which sleeps and has no signal blocked, as a profiler's has */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef EXIT_42
__attribute__((constructor)) static void end(void) { _exit(42); }
#endif

#ifdef FAKE_USER
uid_t getuid(void) { return 0; }
uid_t geteuid(void) { return 0; }
gid_t getgid(void) { return 0; }
gid_t getegid(void) { return 0; }
#endif

#ifdef CHANGING_INODES
#define SHIFT ++looks
#elif defined TWO_INODES
#define SHIFT (path[0] != 0)
#endif

#ifdef SHIFT
static int looks __attribute__((unused));

/* With one C library the standard library of Rust makes the first call, with another the rest. */
#ifdef STATX_TYPE
int statx(int folder, const char *path, int flags, unsigned mask, struct statx *file)
{
    int (*real)(int, const char *, int, unsigned, struct statx *) = dlsym(RTLD_NEXT, "statx");
    int result = real(folder, path, flags, mask, file);
    if (result == 0)
        file->stx_ino += SHIFT;
    return result;
}
#endif

int stat(const char *path, struct stat *file)
{
    int (*real)(const char *, struct stat *) = dlsym(RTLD_NEXT, "stat");
    int result = real(path, file);
    if (result == 0)
        file->st_ino += SHIFT;
    return result;
}

int fstat(int fd, struct stat *file)
{
    const char *path __attribute__((unused)) = "";
    int (*real)(int, struct stat *) = dlsym(RTLD_NEXT, "fstat");
    int result = real(fd, file);
    if (result == 0)
        file->st_ino += SHIFT;
    return result;
}
#endif

#ifdef THREAD
static void *sleep_for_ever(void *unused)
{
    for (;;)
        pause();
    return unused;
}

__attribute__((constructor)) static void start(void)
{
    sigset_t none, before;
    pthread_t thread;
    /* The program's own thread has the signal blocked, so this one takes it. */
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, &before);
    pthread_create(&thread, NULL, sleep_for_ever, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
#endif
