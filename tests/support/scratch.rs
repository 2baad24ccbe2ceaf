//! A folder and a key of the test's own.

use super::*;

/// Why there is no message, where nobody has created a segment.
pub const NO_SEGMENT: &str = "ENOENT); no segment is at this key: ";

/// A folder of the test's own with a `shared_path` in it, and so a key that nobody else uses.
pub struct Scratch {
    dir: TempDir,
    key: i32,
    is_checked: bool,
    /// The processes that were there before it.
    older: Vec<i32>,
}

impl Scratch {
    pub fn new() -> Self {
        // ftok(3) takes only 16 bits of the inode number, and file systems like to give out the
        // same ones: two files at a time can well have the same key. So the key is the name of the
        // folder, and no two tests have one. Other files are kept meanwhile, with their inodes.
        let mut unfit = Vec::new();
        loop {
            let file = NamedTempFile::new().unwrap();
            // The key that ftok makes of the path with project 1, from its manual page.
            let status = file.as_file().metadata().unwrap();
            let (device, inode) = (status.dev() as u32 & 0xff, status.ino() as u32 & 0xffff);
            let key = (1 << 24 | device << 16 | inode) as i32;
            let name = format!("sigshm-{key:08x}");
            match tempfile::Builder::new().prefix(&name).rand_bytes(0).tempdir() {
                Ok(dir) if segments_at(key).is_empty() => {
                    file.as_file().set_permissions(Permissions::from_mode(0o644)).unwrap();
                    file.persist(dir.path().join("shared_path")).unwrap();
                    return Self { dir, key, is_checked: true, older: process_ids() };
                }
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => panic!("{error}"),
                _ => unfit.push(file),
            }
            assert!(unfit.len() < 1000, "there is no key to be had");
        }
    }

    /// A folder in which the test leaves something at its end: a segment, or a process.
    pub fn unchecked() -> Self {
        Self::new().checked_if(false)
    }

    /// Whether nothing may be left in it at the end of the test.
    pub fn checked_if(mut self, may_leave_nothing: bool) -> Self {
        self.is_checked = may_leave_nothing;
        self
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("shared_path")
    }

    /// The key of `shared_path`, as it was when the folder was made.
    pub fn key(&self) -> i32 {
        self.key
    }

    /// The program, told to use this folder's `shared_path`.
    pub fn sigshm<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        sigshm_at(self.path(), arguments)
    }

    /// A listener with these options, which waits for a message.
    pub fn listen(&self, options: &[&str]) -> Program {
        let listener = Program::start(self.sigshm(["--listen"]).args(options));
        listener.until_printed("# Registering");
        listener
    }

    /// A sender to this listener, with these options and this message.
    pub fn sender(&self, listener: Pid, options: &[&str], message: impl AsRef<OsStr>) -> Command {
        let mut sender = self.sigshm(["--to", &listener.to_string()]);
        sender.args(options).arg("--").arg(message);
        sender
    }

    /// The program, told to use a socket. It runs in this folder, and needs no file there.
    pub fn via_socket<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = sigshm();
        command.arg("--via=socket").args(arguments);
        command.current_dir(self.dir());
        command
    }

    /// A copy of the program in this folder, which anybody may run. (The way to the program itself
    /// may be closed to others.)
    pub fn copy_for_anybody(&self) -> PathBuf {
        let copy = self.dir().join("sigshm");
        if !copy.exists() {
            fs::set_permissions(self.dir(), Permissions::from_mode(0o755)).unwrap();
            // By another process: while this one writes to the file, a child that another test
            // starts has it open for writing too, and then it cannot be run ("Text file busy").
            let mut cp = Command::new("cp");
            cp.arg(program()).arg(&copy);
            assert_eq!(run(&mut cp).code, Some(0), "{cp:?}");
            fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
        }
        copy
    }

    /// That copy, run by this user if root runs the tests, and else by the tests' own user.
    pub fn copy_as(&self, user: u32) -> Command {
        let mut command = sigshm_from(self.copy_for_anybody());
        if Uid::effective().is_root() {
            command.uid(user).gid(user);
        }
        command
    }

    /// That copy, run by this user, and told to use this folder's `shared_path`.
    pub fn sigshm_as(&self, user: u32, arguments: &[&str]) -> Command {
        let mut command = self.copy_as(user);
        command.arg("--path").arg(self.path()).args(arguments);
        command
    }

    /// The segments at this folder's key: one, or none.
    pub fn segments(&self) -> Vec<Segment> {
        segments_at(self.key())
    }

    /// The segment at this folder's key. There must be one.
    #[track_caller]
    pub fn segment(&self) -> Segment {
        let mut segments = self.segments();
        assert_eq!(segments.len(), 1, "{segments:?}");
        segments.remove(0)
    }

    /// The message reaches the listener, which ends. Before that it has said why there was none:
    /// once for each of these reasons.
    #[track_caller]
    pub fn assert_delivers(&self, message: &str, listener: Program, reasons: &[&str]) {
        let pid = listener.pid();
        self.assert_sends(pid, message);
        let finished = listener.finish();
        assert_eq!((finished.code, finished.text()), (Some(0), &*received(pid, message)));
        self.assert_noted(&finished.stderr, reasons);
    }

    /// A sender to this listener goes well.
    #[track_caller]
    pub fn assert_sends(&self, listener: Pid, message: &str) {
        let sender = run(self.sender(listener, &[], message));
        assert_eq!(sender.outcome(), (Some(0), "", &*sent(message.len(), message)));
    }

    /// A listener has said that there is no message at the path, and why: a line for each of these
    /// reasons, in this order, and nothing else.
    #[track_caller]
    pub fn assert_noted(&self, stderr: &str, reasons: &[&str]) {
        assert_eq!(stderr.lines().count(), reasons.len(), "{stderr}");
        let start = format!("sigshm: SIGUSR1 came, but there is no message at {:?}: ", self.path());
        for (line, reason) in stderr.lines().zip(reasons) {
            assert!(line.starts_with(&start) && line.ends_with(": still listening"), "{line:?}");
            assert!(line.contains(reason), "{reason:?} is not in {line:?}");
        }
    }

    /// No segment of this folder is left, and no process that was told to use it.
    pub fn assert_nothing_left(&self) {
        wait_until("no process is left", || self.processes().is_empty());
        assert_eq!(self.segments(), [], "a segment is left");
    }

    /// The living processes that name this folder on their command line, or that run in it.
    pub fn processes(&self) -> Vec<i32> {
        let folder = self.dir().to_str().unwrap();
        let named = |pid: &i32| {
            // What was there before the folder knows nothing of it. Most processes of the system
            // are that, and to look into each of them takes longer than many a run.
            if self.older.contains(pid) || *pid == std::process::id() as i32 {
                return false;
            }
            let (line, runs_in) = command_line(*pid);
            line.contains(folder) || runs_in == self.dir()
        };
        process_ids().into_iter().filter(named).collect()
    }
}

impl Drop for Scratch {
    /// A test that goes well leaves no process and no segment. One that has failed leaves nothing
    /// behind either.
    fn drop(&mut self) {
        let must_be_clean = !thread::panicking() && self.is_checked;
        let start = Instant::now();
        let mut processes = self.processes();
        while must_be_clean && !processes.is_empty() && start.elapsed() < TIMEOUT {
            thread::sleep(Duration::from_millis(1));
            processes = self.processes();
        }
        let left = self.segments();
        // Until they are gone, as one that is killed may still be creating a segment.
        let mut living = processes.clone();
        while !living.is_empty() && start.elapsed() < 2 * TIMEOUT {
            for pid in living {
                let _ = kill(Pid::from_raw(pid), SIGKILL);
            }
            thread::sleep(Duration::from_millis(1));
            living = self.processes();
        }
        for segment in self.segments() {
            remove_segment(segment.id);
        }
        assert!(!must_be_clean || processes.is_empty(), "these processes are left: {processes:?}");
        assert!(!must_be_clean || left.is_empty(), "these segments are left: {left:#?}");
    }
}

/// Takes the lock on this folder's `shared_path`, as a run does.
pub fn take_lock(scratch: &Scratch) -> Flock<File> {
    let file = File::open(scratch.path()).unwrap();
    Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap()
}

/// A segment at the key that a process has created which has ended.
pub fn leave_behind(scratch: &Scratch) -> Segment {
    let key = scratch.key();
    let mut command = Command::new("true");
    command.in_child(move || create_segment(key, 1024, 0o600).map(drop));
    assert_eq!(run(command).code, Some(0));
    scratch.segment()
}
