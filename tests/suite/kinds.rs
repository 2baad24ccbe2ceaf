//! What kind of file the path may name: one that can be locked and looked up without touching it.

use std::os::unix::fs::{FileTypeExt, symlink};

use crate::support::*;
use nix::fcntl::AT_FDCWD;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::resource::getrlimit;
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, makedev, mknod, stat, utimensat};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::unistd::mkfifo;

/// Every command that uses the path refuses it, and says what it is. `stdin` makes its standard
/// input, and `check` says whether all is still as it should be.
#[track_caller]
fn assert_refused(path: &Path, kind: &str, stdin: fn() -> Stdio, check: impl Fn(&[&str])) {
    let scratch = Scratch::new();
    // This process has no handler, so it would be refused for that, if the path were not.
    let ours = std::process::id().to_string();
    for arguments in [
        &[HELLO][..],
        &["--explain", HELLO],
        &["--step", HELLO],
        &["--listen"],
        &["--to", &ours, HELLO],
    ] {
        let mut command = sigshm_at(path, arguments);
        command.arg("--timeout=1").current_dir(scratch.dir()).stdin(stdin());
        let finished = run(command);
        finished.assert_failed_with(&[kind, "--path", path.to_str().unwrap()]);
        assert!(!finished.text().contains("# "), "{finished:#?}");
        check(arguments);
    }
}

/// Each command delivers a message by this path.
#[track_caller]
fn assert_accepted(path: &Path) {
    run(sigshm_at(path, [HELLO])).assert_delivered(12, HELLO);
    for option in ["--explain", "--step"] {
        Program::start(sigshm_at(path, [option, HELLO])).finish_well();
    }
    let listener = Program::start(sigshm_at(path, ["--listen"]));
    let pid = listener.pid();
    listener.until_printed(&registered(pid));
    let sender = run(sigshm_at(path, ["--to", &pid.to_string(), HELLO]));
    assert_eq!(sender.text(), sent(12, HELLO), "{path:?}");
    assert_eq!(listener.finish_well(), received(pid, HELLO), "{path:?}");
}

// What is refused.

#[test]
fn a_fifo_is_refused_and_its_waiting_writer_goes_on_waiting_and_loses_nothing() {
    let scratch = Scratch::new();
    let [fifo, link] = ["fifo", "link"].map(|name| scratch.dir().join(name));
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    symlink(&fifo, &link).unwrap();
    // It waits in open(2) until the FIFO is read. If a reader has left, what it writes is lost.
    let writer = Program::start(Command::new("sh").args(["-c", r#"echo data > "$0""#]).arg(&fifo));
    let waits = || state(writer.pid()) == Some('S');
    wait_until("it waits for a reader", waits);
    for path in [&fifo, &link] {
        assert_refused(path, "a FIFO", Stdio::null, |arguments| {
            assert!(waits(), "the writer was let go by {arguments:?}");
        });
    }
    assert_eq!(fs::read_to_string(&fifo).unwrap(), "data\n");
    writer.finish_well();
}

#[test]
fn a_socket_a_device_or_a_pipe_is_refused_by_each_of_its_names() {
    let scratch = Scratch::new();
    let path = scratch.dir().join("socket");
    let _listener = UnixListener::bind(&path).unwrap();
    let socket = || OwnedFd::from(UnixStream::pair().unwrap().0).into();
    // Standard input, by the name that it has in /proc.
    let stdin = Path::new("/proc/self/fd/0");
    assert_refused(&path, "a socket", Stdio::null, |_| {});
    assert_refused(stdin, "a socket", socket, |_| {});
    assert_refused(stdin, "a FIFO", Stdio::piped, |_| {});
    match block_device(scratch.dir()) {
        Some(device) => assert_refused(&device, "a block device", Stdio::null, |_| {}),
        None => not_tested("a block device as the path", "there is none here"),
    }
    // To open the first one is to make a new terminal, and the second may not be there to open.
    for device in ["/dev/ptmx", "/dev/tty", "/dev/null", "/dev/zero"].map(Path::new) {
        if !device.exists() {
            not_tested("a device as the path", &format!("there is no {device:?}"));
            continue;
        }
        let link = scratch.dir().join(device.file_name().unwrap());
        symlink(device, &link).unwrap();
        for path in [device, &link] {
            assert_refused(path, "a character device", Stdio::null, |_| {});
        }
    }
}

/// A block device: a loop device in this folder, which only root can make, or one that there is.
fn block_device(folder: &Path) -> Option<PathBuf> {
    let ours = folder.join("block");
    let made = mknod(&ours, SFlag::S_IFBLK, Mode::S_IRUSR, makedev(7, 0)).map(|()| ours);
    let devices = fs::read_dir("/dev").unwrap().flatten().map(|it| it.path());
    made.into_iter()
        .chain(devices)
        .find(|path| fs::metadata(path).is_ok_and(|it| it.file_type().is_block_device()))
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
    let (window, device) = match new_terminal() {
        Ok(terminal) => terminal,
        Err(error) => return not_tested("a terminal as the path", &error.to_string()),
    };
    assert_refused(&device, "a character device", Stdio::null, |arguments| {
        // Once a program has opened it, and has closed it, the window is hung up.
        let mut fds = [PollFd::new(window.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::ZERO), Ok(0), "it was opened by {arguments:?}");
    });
}

// What is accepted.

#[test]
fn a_regular_file_is_accepted_whatever_its_mode_and_size() {
    let scratch = Scratch::new();
    let (most, _) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    // The largest is without a byte on the disk.
    for (mode, size) in [(0o400, 0), (0o444, 0), (0o600, 1), (0o755, 4096), (0o400, 1 << 32)] {
        if u128::from(size) > most.into() {
            not_tested(&format!("a file of {size} bytes"), "RLIMIT_FSIZE is lower (ulimit -f)");
            continue;
        }
        let file = File::options().write(true).open(scratch.path());
        file.and_then(|file| file.set_len(size)).unwrap();
        fs::set_permissions(scratch.path(), Permissions::from_mode(mode)).unwrap();
        assert_accepted(&scratch.path());
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn a_folder_and_a_link_to_a_folder_or_a_file_are_accepted() {
    let scratch = Scratch::new();
    let [folder, to_folder, to_file] =
        ["folder", "to folder", "to file"].map(|name| scratch.dir().join(name));
    fs::create_dir(&folder).unwrap();
    symlink(&folder, &to_folder).unwrap();
    symlink(scratch.path(), &to_file).unwrap();
    for path in [&folder, &to_folder, &to_file] {
        assert_accepted(path);
    }
    fs::set_permissions(&folder, Permissions::from_mode(0o500)).unwrap();
    assert_accepted(&folder);
}

#[test]
fn somebody_elses_file_is_accepted_if_it_can_be_read() {
    let scratch = Scratch::new();
    // (Root of a user namespace may have nobody else in it.)
    let is_root = Uid::effective().is_root();
    if !is_root || scratch.copy_as(65534).arg("--version").output().is_err() {
        return not_tested("somebody else's file", "it takes root to be two users");
    }
    let folder = scratch.dir().join("folder");
    fs::create_dir(&folder).unwrap();
    for (path, mode) in [(&scratch.path(), 0o444), (&folder, 0o555)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let finished = run(scratch.copy_as(65534).arg("--path").arg(path).arg(HELLO));
        finished.assert_delivered(12, HELLO);
    }
}

// What is not changed.

#[test]
fn no_run_changes_anything_of_what_the_path_names_nor_of_its_folder() {
    const CONTENT: &str = "Nobody reads this.\n";
    let scratch = Scratch::new();
    let around = scratch.dir().join("around");
    let [file, folder, fifo, socket] =
        ["file", "folder", "fifo", "socket"].map(|it| around.join(it));
    fs::create_dir_all(&folder).unwrap();
    fs::write(&file, CONTENT).unwrap();
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let _listener = UnixListener::bind(&socket).unwrap();

    let all = [&file, &folder, &fifo, &socket, &around];
    // Long ago: that a file is read is noted if that was not done for a day.
    let long_ago = TimeSpec::seconds(1_000_000_000);
    for path in all {
        let flag = UtimensatFlags::FollowSymlink;
        utimensat(AT_FDCWD, path, &long_ago, &long_ago, flag).unwrap();
    }
    // Whose it is, its mode, its size, its times.
    let facts = || all.map(|path| format!("{:?}", stat(path).unwrap()));
    let before = facts();
    for path in [&file, &folder] {
        assert_accepted(path);
    }
    assert_eq!(facts(), before);
    assert_refused(&fifo, "a FIFO", Stdio::null, |_| {});
    assert_refused(&socket, "a socket", Stdio::null, |_| {});
    assert_eq!(facts(), before);
    assert_eq!(fs::read_to_string(&file).unwrap(), CONTENT);
}
