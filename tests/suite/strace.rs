//! That `tests/support/strace.rs` reads what strace(1) writes as it is meant.

use crate::support::strace::*;
use crate::support::*;

const LOG: &str = r#"
execve("/sigshm", ["/sigshm"], 0x7ff /* 9 vars */) = 0
rt_sigaction(SIGPIPE, {sa_handler=SIG_IGN}, NULL, 8) = 0
rt_sigprocmask(SIG_SETMASK, [USR1], ~[KILL STOP], 8) = 0
pipe2([3, 4], O_CLOEXEC)                = 0
pselect6(0, NULL, NULL, NULL, NULL, {sigmask=[], sigsetsize=8}) = ? ERESTARTNOHAND (To be…)
--- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER, si_pid=7, si_uid=0} ---
rt_sigreturn({mask=[USR1]})             = -1 EINTR (Interrupted system call)
flock(3, LOCK_EX|LOCK_NB)               = -1 EAGAIN (Resource temporarily unavailable)
poll([{fd=3, events=POLLIN}], 1, 5000)  = ? ERESTART_RESTARTBLOCK (Interrupted by signal)
--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=8, si_uid=0} ---
poll([{fd=3, events=POLLIN}], 1, 5000)  = 1 ([{fd=3, revents=POLLHUP}])
exit_group(0)                           = ?
read(3, 0x7ff, 1
+++ killed by SIGKILL +++"#;

#[test]
fn a_log_is_read_as_the_calls_that_have_returned_and_the_signals_between_them() {
    let process = Process::new(Pid::this(), LOG);
    let calls = process.calls.iter().map(|it| format!("{} = {}", it.words, it.returned));
    assert_eq!(
        calls.collect::<Vec<_>>(),
        [
            "sigprocmask(SIG_SETMASK, [USR1], ~[KILL STOP], 8) = 0",
            "pipe([3, 4], O_CLOEXEC) = 0",
            "pselect(0, NULL, NULL, NULL, NULL, {sigmask=[], sigsetsize=8}) = -1 EINTR",
            "SIGUSR1 {si_code=SI_USER, si_pid=7, si_uid=0} --- = ",
            "flock(3, LOCK_EX|LOCK_NB) = -1 EAGAIN",
            "poll([{fd=3, events=POLLIN}], 1, 5000) = 1",
        ]
    );
    assert!(process.was_killed());
}

/// What strace(1) writes of a call; then what is told of it; then its outline.
const TRANSLATIONS: &str = r#"
openat(AT_FDCWD, "/tmp/it", O_RDONLY|O_CLOEXEC) = 3
    told: open(PATH, O_RDONLY|O_CLOEXEC) = 3
    outline: open(AT_FDCWD, "/tmp/it", O_RDONLY|O_CLOEXEC) = 3
newfstatat(AT_FDCWD, "/tmp/it", {st_dev=makedev(0, 1), st_ino=772}, 0) = 0
    told: ftok(PATH, 1) = 0x01020304  outline: stat(AT_FDCWD, "/tmp/it",  = 0
shmget(0x1020304, 1024, 000)            = 78
    told: shmget(0x01020304, 1024, 0) = 78  outline: shmget(0x1020304, 1024, 000) = SEGMENT
shmctl(78, IPC_STAT, {shm_perm={cuid=9}, shm_segsz=8, shm_cpid=77, shm_lpid=0, shm_nattch=2, …}) = 0
    told: shmctl(78, IPC_STAT, {shm_segsz=8, shm_cpid=77, shm_lpid=0, shm_nattch=2, …}) = 0
    outline: shmctl(SEGMENT, IPC_STAT, ["shm_cpid=SENDER", "shm_lpid=0", "shm_nattch=2"] = 0
rt_sigprocmask(SIG_BLOCK, [HUP INT QUIT ABRT TERM], [USR1], 8) = 0
    told: sigprocmask(SIG_BLOCK, [HUP INT QUIT …], …) = 0
    outline: sigprocmask(SIG_BLOCK, [HUP INT QUIT ABRT TERM]) = 0
rt_sigaction(SIGUSR1, {sa_handler=0x55e812340000, sa_mask=[], sa_flags=SA_RESTORER}, NULL, 8) = 0
    told: sigaction(SIGUSR1, {sa_handler=0x55e812340000, …}, …) = 0
    outline: sigaction(SIGUSR1, {sa_handler=ADDRESS = 0
rt_sigaction(SIGUSR1, NULL, {sa_handler=SIG_DFL, sa_mask=[], sa_flags=0}, 8) = 0
    told: nothing  outline: sigaction(SIGUSR1, NULL, {sa_handler=SIG_DFL = 0
clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f1234567000) = 78
    told: fork() = 78  outline: fork = LISTENER
pipe2([3, 4], O_CLOEXEC)                = 0
    told: nothing  outline: pipe = 0
pipe2([5, 6], O_CLOEXEC)                = 0
    told: pipe([5, 6]) = 0  outline: pipe = 0
write(6, "!", 1)                        = 1
    told: write(6, …, 1) = 1  outline: write(PIPE 1, "!", 1) = 1
write(4, "!", 1)                        = 1
    told: nothing  outline: write(4, "!", 1) = 1
write(2, "PID 77\n", 7)                 = 7
    told: nothing  outline: write(2, "PID SENDER\n" = LENGTH
poll([{fd=5, events=POLLIN}], 1, 5000)  = 1 ([{fd=5, revents=POLLIN}])
    told: poll([{fd=5, events=POLLIN}], 1, 5000) = 1  outline: poll([{fd=PIPE 0, events=POLLIN = 1
ppoll([{fd=5, events=POLLIN}], 1, {tv_sec=5, tv_nsec=20000000}, NULL, 0) = 0 (Timeout)
    told: poll([{fd=5, events=POLLIN}], 1, 5020) = 0  outline: poll([{fd=PIPE 0, events=POLLIN = 0
ppoll([{fd=5, events=POLLIN}], 1, NULL, NULL, 0) = 1 ([{fd=5, revents=POLLIN}])
    told: poll([{fd=5, events=POLLIN}], 1, -1) = 1  outline: poll([{fd=PIPE 0, events=POLLIN = 1
pselect6(0, NULL, NULL, NULL, {tv_sec=1, tv_nsec=0}, {sigmask=[], sigsetsize=8}) = 0 (Timeout)
    told: pselect(0, [], NULL, NULL, {tv_sec=1, tv_nsec=0}, []) = 0  outline: pselect = 0
clock_nanosleep(CLOCK_REALTIME, 0, {tv_sec=0, tv_nsec=10000000}, NULL) = 0
    told: nanosleep({tv_sec=0, tv_nsec=10000000}, …) = 0
    outline: nanosleep(CLOCK_REALTIME, 0, {tv_sec=0, tv_nsec=10000000}, NULL) = 0
wait4(78, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = 78
    told: waitpid(78, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0) = 78
    outline: waitpid(LISTENER, [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], 0, NULL) = LISTENER
sendto(5, "\1\0 and more", 1024, 0, NULL, 0) = 1024
    told: send(5, …, 1024, 0) = 1024  outline: send(, 1024, 0, NULL, 0) = 1024
recvfrom(6, "\1\0 and more", 1024, MSG_WAITALL, NULL, NULL) = 1024
    told: recv(6, …, 1024, MSG_WAITALL) = 1024
    outline: recv(, 1024, MSG_WAITALL, NULL, NULL) = 1024
"#;

#[test]
fn a_call_is_told_and_outlined_in_the_words_of_the_story() {
    let translator = Translator {
        path: r#""/tmp/it""#.to_owned(),
        key: 0x01020304,
        records: vec![3, 4],
        pipes: vec![5, 6],
        names: [
            (Kind::Process, "77", "SENDER"),
            (Kind::Process, "78", "LISTENER"),
            (Kind::Segment, "78", "SEGMENT"),
        ]
        .map(|(kind, number, name)| (kind, number.into(), name.into()))
        .into(),
    };
    for case in TRANSLATIONS.trim().replace("\n    ", "  ").lines() {
        let (line, expected) = case.split_once("  told: ").unwrap();
        // A log is read from the first sigprocmask on.
        let log = format!("rt_sigprocmask(SIG_BLOCK, [], [], 8) = 0\n{line}");
        let call = &Process::new(Pid::this(), &log).calls[1];
        let told = translator.told(call).unwrap_or_else(|| "nothing".to_owned());
        assert_eq!(format!("{told}  outline: {}", translator.outline(call)), expected, "{line}");
    }
}

#[test]
fn of_many_signals_with_one_handler_three_are_told() {
    let caught = |signal: &str| format!("sigaction(SIG{signal}, {{sa_handler=0x5, …}}, …) = 0");
    let ignored = "sigaction(SIGHUP, {sa_handler=SIG_IGN, …}, …) = 0".to_owned();
    let seen = ["HUP", "INT", "QUIT", "ABRT", "TERM"].map(caught);
    let all = "sigaction([HUP INT QUIT …], {sa_handler=0x5, …}, …) = 0";
    assert_eq!(one_for_each_handler(&seen), [all]);
    let four = "sigaction([HUP INT QUIT ABRT], {sa_handler=0x5, …}, …) = 0";
    assert_eq!(one_for_each_handler(&seen[..4]), [four]);
    let two = [seen[0].clone(), ignored.clone(), seen[1].clone()];
    assert_eq!(one_for_each_handler(&two), two);
}

#[test]
fn of_a_status_the_fields_that_are_told_are_compared() {
    let seen = "shmctl(5, IPC_STAT, {shm_segsz=8, shm_cpid=7, shm_lpid=0, shm_nattch=1, …}) = 0";
    let told = "shmctl(5, IPC_STAT, {shm_cpid=7, shm_nattch=1, …}) = 0";
    assert_eq!(with_fields_of(told, seen), told);
    assert_ne!(with_fields_of(&told.replace("=7", "=8"), seen), told);
}
