//! The programs below `tests/peers/`: what compiles them, Python, and a library that is preloaded.

use super::*;

use std::hash::{DefaultHasher, Hash, Hasher};

/// Where the peers' sources are.
pub fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers")
}

/// Compiles one of the C peers and returns where it is.
pub fn compile_peer(name: &str) -> PathBuf {
    compile_peer_without(name, &[])
}

/// As [`compile_peer`], with some of its safeguards left out.
pub fn compile_peer_without(name: &str, safeguards: &[&str]) -> PathBuf {
    let switches: Vec<_> = safeguards.iter().map(|it| format!("-DWITHOUT_{it}")).collect();
    compile(name, &switches)
}

/// A library that changes what a program sees of the system; see `tests/peers/preload.c` for what
/// there is.
pub fn library(what: &str) -> PathBuf {
    compile("preload", &["-shared", "-fPIC", "-pthread", &format!("-D{what}")].map(str::to_owned))
}

/// The command will load this library.
pub fn preload<'a>(command: &'a mut Command, library: &Path) -> &'a mut Command {
    // A path in LD_PRELOAD must not have a space; that of a folder may.
    command.env("LD_LIBRARY_PATH", library.parent().unwrap());
    command.env("LD_PRELOAD", library.file_name().unwrap())
}

fn compile(name: &str, flags: &[String]) -> PathBuf {
    let source = peers().join(name).with_extension("c");
    // Kept for the next time, under a name that is another one if the source has changed.
    let header = fs::read(source.with_file_name("message.h")).unwrap();
    let mut hasher = DefaultHasher::new();
    (fs::read(&source).unwrap(), header).hash(&mut hasher);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let binary = folder.join(format!("{name}{}-{:016x}", flags.concat(), hasher.finish()));
    if !binary.exists() {
        // Under another name first: another test may be compiling it too.
        let unfinished = tempfile::NamedTempFile::new_in(folder).unwrap().into_temp_path();
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&unfinished);
        cc.args(flags).arg(source);
        let status = cc.status().expect("the tests need a C compiler, cc");
        assert!(status.success(), "{cc:?}");
        unfinished.persist(&binary).unwrap();
    }
    binary
}

/// The interpreter itself, in case `python3` is a script that looks for it: what we start is then
/// what listens.
static PYTHON: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let mut command = Command::new("python3");
    command.args(["-c", "import sys; print(sys.executable)"]);
    // (What stands there as python3 may only be a script that looks for one.)
    let output = command.stdin(Stdio::null()).output().ok().filter(|it| it.status.success())?;
    let executable = String::from_utf8(output.stdout).unwrap();
    Some(PathBuf::from(executable.trim_end()))
});

/// Python, told to leave no compiled modules behind. If there is none, it is said aloud that `what`
/// is not tested.
pub fn python(what: &str) -> Option<Command> {
    let Some(python) = &*PYTHON else {
        not_tested(what, "there is no python3 here");
        return None;
    };
    let mut command = Command::new(python);
    command.arg("-B").stdin(Stdio::null());
    Some(command)
}

/// No compiled modules lie beside the peers.
#[track_caller]
pub fn assert_no_traces() {
    let cache = peers().join("__pycache__");
    assert!(!cache.exists(), "{} is left", cache.display());
}
