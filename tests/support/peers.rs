//! The programs below `tests/peers/` that must be compiled, and a library that is preloaded.

use super::*;

use std::hash::{DefaultHasher, Hash, Hasher};

/// Compiles one of the C peers and returns where it is.
pub fn compile_peer(name: &str) -> PathBuf {
    compile_peer_without(name, &[])
}

/// As [`compile_peer`], with some of its safeguards left out.
pub fn compile_peer_without(name: &str, safeguards: &[&str]) -> PathBuf {
    let switches: Vec<_> = safeguards.iter().map(|it| format!("-DWITHOUT_{it}")).collect();
    compile(name, &switches)
}

/// The command will load a library that changes what it sees of the system; see
/// `tests/peers/preload.c` for what there is.
pub fn preload(command: &mut Command, what: &str) {
    let flags = ["-shared", "-fPIC", "-pthread", &format!("-D{what}")].map(str::to_owned);
    command.env("LD_PRELOAD", compile("preload", &flags));
}

fn compile(name: &str, flags: &[String]) -> PathBuf {
    let source = format!("{}/tests/peers/{name}.c", env!("CARGO_MANIFEST_DIR"));
    // Kept for the next time, under a name that is another one if the source has changed.
    let header = fs::read(Path::new(&source).with_file_name("message.h")).unwrap();
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
