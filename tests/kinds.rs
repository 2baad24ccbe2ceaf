//! What kind of file the path may name: one that can be locked and looked up without touching it.

use std::os::unix::fs::{FileTypeExt, symlink};
use std::process;
use std::sync::mpsc::channel;

use crate::support::*;
use nix::fcntl::{AT_FDCWD, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, makedev, mknod, utimensat};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::unistd::{gettid, mkfifo};

const HELLO: &str = "Hello, world";

/// The program, told to use this path. It runs in the test's folder, so that it is found there.
fn with_path(scratch: &Scratch, path: &Path, arguments: &[&str]) -> Command {
    let mut command = sigshm();
    command.arg("--path").arg(path).args(arguments);
    command.current_dir(scratch.dir());
    command
}

/// Every command that uses the path refuses it, and says what it is. `stdin` makes its standard
/// input, and `check` says whether all is still as it should be.
#[track_caller]
fn assert_refused_with(
    path: &Path,
    kind: &str,
    stdin: impl Fn() -> Stdio,
    check: impl Fn(&[&str]),
) {
    let scratch = Scratch::new();
    // This process has no handler, so it would be refused for that, if the path were not.
    let ours = process::id().to_string();
    for arguments in [
        &[HELLO][..],
        &["--explain", HELLO],
        &["--step", HELLO],
        &["--listen"],
        &["--to", &ours, HELLO],
    ] {
        let mut command = with_path(&scratch, path, arguments);
        let finished = run(command.arg("--timeout=1").stdin(stdin()));
        finished.assert_failed_with(&[kind, "--path", path.to_str().unwrap()]);
        assert!(!finished.text().contains("# "), "{finished:#?}");
        check(arguments);
        scratch.assert_nothing_left();
    }
}

#[track_caller]
fn assert_refused(path: &Path, kind: &str) {
    assert_refused_with(path, kind, Stdio::null, |_| {});
}

/// Each command delivers a message by this path.
#[track_caller]
fn assert_accepted(scratch: &Scratch, path: &Path) {
    let demo = run(with_path(scratch, path, &[HELLO]));
    demo.assert_delivered(HELLO.len(), HELLO);
    for option in ["--explain", "--step"] {
        let told = run(with_path(scratch, path, &[option, HELLO]));
        let outcome = (told.code, told.stderr.as_str());
        assert_eq!(outcome, (Some(0), ""), "{path:?} {option}");
    }
    let listener = Program::start(with_path(scratch, path, &["--listen"]));
    let pid = listener.pid();
    listener.until_printed(&registered(pid));
    let sender = run(with_path(scratch, path, &["--to", &pid.to_string(), HELLO]));
    assert_eq!(sender.text(), sent(HELLO.len(), HELLO), "{path:?}");
    assert_eq!(listener.finish_well(), received(pid, HELLO), "{path:?}");
    scratch.assert_nothing_left();
}

// What is refused.

/// Somebody who wants to write into a FIFO, and waits in open(2) until it is read.
struct Writer {
    thread: Pid,
    writes: JoinHandle<()>,
}

impl Writer {
    const DATA: &str = "what was to be read\n";

    fn start(fifo: &Path) -> Self {
        let (sender, receiver) = channel();
        let fifo = fifo.to_owned();
        let writes = thread::spawn(move || {
            sender.send(gettid()).unwrap();
            let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
            let opened = openat(AT_FDCWD, &fifo, flags, Mode::empty()).unwrap();
            // If the reader has left, it is lost.
            let _ = File::from(opened).write_all(Self::DATA.as_bytes());
        });
        let thread = receiver.recv().unwrap();
        let writer = Self { thread, writes };
        wait_until("it waits for a reader", || writer.waits());
        writer
    }

    fn waits(&self) -> bool {
        is_blocked_in(self.thread, libc::SYS_openat)
    }
}

#[test]
fn a_fifo_is_refused_and_its_waiting_writer_goes_on_waiting_and_loses_nothing() {
    let scratch = Scratch::new();
    let fifo = scratch.dir().join("fifo");
    mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let link = scratch.dir().join("link");
    symlink(&fifo, &link).unwrap();
    let writer = Writer::start(&fifo);
    for path in [&fifo, &link] {
        assert_refused_with(path, "a FIFO", Stdio::null, |arguments| {
            assert!(writer.waits(), "the writer was let go by {arguments:?}");
        });
    }
    assert_eq!(fs::read_to_string(&fifo).unwrap(), Writer::DATA);
    writer.writes.join().unwrap();
}

#[test]
fn a_pipe_or_a_socket_that_the_program_has_open_is_refused() {
    // Standard input, by the name that it has in /proc.
    let path = Path::new("/proc/self/fd/0");
    assert_refused_with(path, "a FIFO", Stdio::piped, |_| {});
    let socket = || OwnedFd::from(UnixStream::pair().unwrap().0).into();
    assert_refused_with(path, "a socket", socket, |_| {});
}

#[test]
fn a_socket_or_a_character_device_is_refused() {
    let scratch = Scratch::new();
    let socket = scratch.dir().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    assert_refused(&socket, "a socket");
    // To open the first one is to make a new terminal, and the second may not be there to open.
    for device in ["/dev/ptmx", "/dev/tty", "/dev/null", "/dev/zero"].map(Path::new) {
        if device.exists() {
            assert_refused(device, "a character device");
            let link = scratch.dir().join(device.file_name().unwrap());
            symlink(device, &link).unwrap();
            assert_refused(&link, "a character device");
        } else {
            not_tested("a device as the path", &format!("there is no {device:?}"));
        }
    }
}

/// A terminal that no program has opened yet: the window, and the device.
fn new_terminal() -> io::Result<(PtyMaster, PathBuf)> {
    let window = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
    grantpt(&window)?;
    unlockpt(&window)?;
    let device = ptsname_r(&window)?.into();
    Ok((window, device))
}

#[test]
fn a_terminal_is_refused_and_is_not_opened() {
    match new_terminal() {
        Ok((window, device)) => {
            assert_refused_with(&device, "a character device", Stdio::null, |arguments| {
                // Once a program has opened it, and has closed it, the window is hung up.
                let mut fds = [PollFd::new(window.as_fd(), PollFlags::POLLIN)];
                let ready = poll(&mut fds, PollTimeout::ZERO);
                assert_eq!(ready, Ok(0), "it was opened by {arguments:?}");
            });
        }
        Err(error) => not_tested("a terminal as the path", &error.to_string()),
    }
}

/// A block device: one in this folder, which only root can make, or one that there is.
fn block_device(folder: &Path) -> Option<PathBuf> {
    let ours = folder.join("block");
    let loop_device = makedev(7, 0);
    if mknod(&ours, SFlag::S_IFBLK, Mode::S_IRUSR, loop_device).is_ok() {
        return Some(ours);
    }
    let is_block =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|it| it.file_type().is_block_device());
    let devices = fs::read_dir("/dev").ok()?.flatten();
    devices.map(|it| it.path()).find(is_block)
}

#[test]
fn a_block_device_is_refused() {
    let scratch = Scratch::new();
    match block_device(scratch.dir()) {
        Some(device) => assert_refused(&device, "a block device"),
        None => not_tested("a block device as the path", "there is none here"),
    }
}

// What is accepted.

#[test]
fn a_regular_file_is_accepted_whatever_its_mode_and_size() {
    let scratch = Scratch::new();
    for (mode, size) in [
        (0o400, 0),
        (0o444, 0),
        (0o600, 1),
        (0o755, 4096),
        // Without a byte on the disk.
        (0o400, 1 << 32),
    ] {
        let file = File::options().write(true).open(scratch.path());
        file.and_then(|file| file.set_len(size)).unwrap();
        fs::set_permissions(scratch.path(), Permissions::from_mode(mode)).unwrap();
        assert_accepted(&scratch, &scratch.path());
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn a_folder_and_a_link_to_a_folder_or_a_file_are_accepted() {
    let scratch = Scratch::new();
    let folder = scratch.dir().join("folder");
    fs::create_dir(&folder).unwrap();
    let links = [(&folder, "to folder"), (&scratch.path(), "to file")].map(|(target, name)| {
        let link = scratch.dir().join(name);
        symlink(target, &link).unwrap();
        link
    });
    assert_accepted(&scratch, &folder);
    for link in links {
        assert_accepted(&scratch, &link);
    }
    fs::set_permissions(&folder, Permissions::from_mode(0o500)).unwrap();
    assert_accepted(&scratch, &folder);
}

#[test]
fn somebody_elses_file_is_accepted_if_it_can_be_read() {
    const NOBODY: u32 = 65534;
    // (Root of a user namespace may have nobody else in it.)
    if Command::new("true").uid(NOBODY).gid(NOBODY).status().is_err() {
        return not_tested("somebody else's file", "it takes root to be two users");
    }
    let scratch = Scratch::new();
    let folder = scratch.dir().join("folder");
    fs::create_dir(&folder).unwrap();
    for (path, mode) in [(&scratch.path(), 0o444), (&folder, 0o555)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let mut command = Command::new(scratch.copy_for_anybody());
        command.arg("--path").arg(path).arg(HELLO);
        command.env_remove("NO_COLOR").uid(NOBODY).gid(NOBODY);
        with_default_signals(&mut command);
        let finished = run(command.stdin(Stdio::null()));
        finished.assert_delivered(HELLO.len(), HELLO);
        scratch.assert_nothing_left();
    }
}

// What is not changed.

/// All that the system tells of a file: whose it is, its mode, its size, its times.
fn facts(path: &Path) -> Vec<i64> {
    let file = fs::metadata(path).unwrap();
    let numbers = [file.dev(), file.ino(), file.nlink(), file.size(), file.blocks()];
    let owners = [file.mode(), file.uid(), file.gid()].map(i64::from);
    let seconds = [file.atime(), file.mtime(), file.ctime()];
    let rests = [file.atime_nsec(), file.mtime_nsec(), file.ctime_nsec()];
    let numbers = numbers.map(|it| it as i64);
    [&numbers[..], &owners, &seconds, &rests].concat()
}

#[test]
fn no_run_changes_anything_of_what_the_path_names_nor_of_its_folder() {
    const CONTENT: &str = "Nobody reads this.\n";
    let scratch = Scratch::new();
    let around = scratch.dir().join("around");
    let [file, folder, fifo, socket] =
        ["file", "folder", "fifo", "socket"].map(|it| around.join(it));
    fs::create_dir_all(&folder).unwrap();
    fs::write(&file, CONTENT).unwrap();
    mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let _listener = UnixListener::bind(&socket).unwrap();

    let all = [&file, &folder, &fifo, &socket, &around];
    // Times of long ago: the system notes that a file is read if it was not read since it was
    // written, or not for a day.
    let long_ago = TimeSpec::seconds(1_000_000_000);
    for path in all {
        let flag = UtimensatFlags::FollowSymlink;
        utimensat(AT_FDCWD, path, &long_ago, &long_ago, flag).unwrap();
    }
    let before = all.map(|path| facts(path));
    for path in [&file, &folder] {
        assert_accepted(&scratch, path);
    }
    assert_eq!(all.map(|path| facts(path)), before);
    assert_refused(&fifo, "a FIFO");
    assert_refused(&socket, "a socket");
    assert_eq!(all.map(|path| facts(path)), before);
    assert_eq!(fs::read_to_string(&file).unwrap(), CONTENT);
}
