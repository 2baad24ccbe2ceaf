//! The programs below `tests/peers/`: what compiles them, Python, and a library that is preloaded.

use super::*;

use std::hash::{DefaultHasher, Hash, Hasher};

/// Where the peers' sources are.
pub fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers")
}

/// The C compiler, told to make programs for this machine's size of numbers.
fn cc() -> Command {
    let mut cc = Command::new("cc");
    cc.args(cfg!(target_arch = "x86").then_some("-m32"));
    cc
}

/// Whether C can be compiled here. If not, it is said aloud.
#[track_caller]
pub fn compiles_c() -> bool {
    static WHY_NOT: LazyLock<Option<String>> = LazyLock::new(|| {
        let (folder, bits) = (TempDir::new().unwrap(), usize::BITS);
        let (source, program) = (folder.path().join("it.c"), folder.path().join("it"));
        // One of the system's headers, which may be there for one size only.
        let includes = "#define _GNU_SOURCE\n#include <stddef.h>\n#include <sys/stat.h>\n";
        let main = format!("int main(void) {{ return {bits} - 8 * sizeof(size_t); }}\n");
        fs::write(&source, includes.to_owned() + &main).unwrap();
        let compiled = cc().arg("-o").args([&program, &source]).output();
        let runs = || Command::new(&program).status().is_ok_and(|it| it.success());
        match compiled {
            Err(error) => Some(format!("cc cannot be run: {error}")),
            Ok(cc) if !cc.status.success() => {
                let said = String::from_utf8_lossy(&cc.stderr).into_owned();
                Some(format!("cc fails: {}", said.lines().next().unwrap_or_default()))
            }
            Ok(_) if runs() => None,
            Ok(_) => Some("cc makes no programs of the tests' word size".to_owned()),
        }
    });
    let caller = Location::caller();
    WHY_NOT.as_ref().inspect(|why| not_tested(&caller.to_string(), why)).is_none()
}

/// Compiles one of the C peers and returns where it is.
pub fn compile_peer(name: &str) -> PathBuf {
    compile_peer_without(name, &[])
}

/// As [`compile_peer`], with some of its safeguards left out.
pub fn compile_peer_without(name: &str, safeguards: &[&str]) -> PathBuf {
    let switches: Vec<_> = safeguards.iter().map(|it| format!("WITHOUT_{it}")).collect();
    compile_peer_with(name, &switches)
}

/// As [`compile_peer`], with some of its switches.
pub fn compile_peer_with(name: &str, switches: &[String]) -> PathBuf {
    let switches: Vec<_> = switches.iter().map(|it| format!("-D{it}")).collect();
    compile(name, &switches)
}

/// Whether the program loads a library that is preloaded. If not, it is said aloud.
#[track_caller]
pub fn loads_libraries() -> bool {
    static LOADS: LazyLock<bool> = LazyLock::new(|| {
        let mut command = sigshm();
        run(preload(command.arg("--version"), &library("EXIT_42"))).code == Some(42)
    });
    if !compiles_c() {
        return false;
    }
    if !*LOADS {
        let why = "the program is linked statically, or cc compiles for another C library";
        not_tested(&Location::caller().to_string(), why);
    }
    *LOADS
}

/// A library that changes what a program sees of the system; see `tests/peers/preload.c` for what
/// there is.
pub fn library(what: &str) -> PathBuf {
    compile("preload", &["-shared", "-fPIC", &format!("-D{what}")].map(str::to_owned))
}

/// The command will load this library.
pub fn preload<'a>(command: &'a mut Command, library: &Path) -> &'a mut Command {
    // A path in LD_PRELOAD must not have a space; that of a folder may.
    command.env("LD_LIBRARY_PATH", library.parent().unwrap());
    command.env("LD_PRELOAD", library.file_name().unwrap())
}

fn compile(name: &str, flags: &[String]) -> PathBuf {
    let source = peers().join(name).with_extension("c");
    // Kept for the next time, under a name that is another one if the source has changed, or the
    // system.
    let header = fs::read(source.with_file_name("message.h")).unwrap();
    let mut hasher = DefaultHasher::new();
    (fs::read(&source).unwrap(), header).hash(&mut hasher);
    (env::consts::ARCH, cfg!(target_env = "musl")).hash(&mut hasher);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let binary = folder.join(format!("{name}{}-{:016x}", flags.concat(), hasher.finish()));
    if !binary.exists() {
        // Under another name first: another test may be compiling it too.
        let unfinished = tempfile::NamedTempFile::new_in(folder).unwrap().into_temp_path();
        let mut cc = cc();
        cc.args(["-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"]).arg(&unfinished);
        cc.args(flags).arg(source);
        let status = cc.status().expect("the tests need a C compiler, cc");
        assert!(status.success(), "{cc:?}");
        // A temporary file is for its user alone.
        fs::set_permissions(&unfinished, Permissions::from_mode(0o755)).unwrap();
        unfinished.persist(&binary).unwrap();
    }
    binary
}

/// The interpreter itself, in case `python3` is a script that looks for it: what we start is then
/// what listens. And how many bits its numbers have.
static PYTHON: LazyLock<Option<(PathBuf, u32)>> = LazyLock::new(|| {
    let mut command = Command::new("python3");
    let script = "import struct, sys; print(8 * struct.calcsize('P'), sys.executable)";
    let output = command.args(["-c", script]).stdin(Stdio::null()).output();
    // (What stands there as python3 may only be a script that looks for one.)
    let output = output.ok().filter(|it| it.status.success())?;
    let said = String::from_utf8(output.stdout).unwrap();
    let (bits, executable) = said.trim_end().split_once(' ').unwrap();
    Some((PathBuf::from(executable), bits.parse().unwrap()))
});

/// Python, told to leave no compiled modules behind. If there is none, it is said aloud that `what`
/// is not tested.
pub fn python(what: &str) -> Option<Command> {
    let Some((python, _)) = &*PYTHON else {
        not_tested(what, "there is no python3 here");
        return None;
    };
    let mut command = Command::new(python);
    command.arg("-B").stdin(Stdio::null());
    Some(command)
}

/// The same, if it has the message's struct as the program has it.
pub fn python_as_peer(what: &str) -> Option<Command> {
    let is_other = PYTHON.as_ref().is_some_and(|(_, bits)| *bits != usize::BITS);
    if is_other {
        not_tested(what, "the program and python3 have numbers of different sizes");
        return None;
    }
    python(what)
}

/// No compiled modules lie beside the peers.
#[track_caller]
pub fn assert_no_traces() {
    let cache = peers().join("__pycache__");
    assert!(!cache.exists(), "{} is left", cache.display());
}
