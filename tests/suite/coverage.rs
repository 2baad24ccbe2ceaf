//! A build that measures coverage records what both processes have run.

use crate::support::*;
use std::env;

#[test]
fn built_for_coverage_the_demo_is_the_same_and_the_profile_counts_what_both_processes_ran() {
    let scratch = Scratch::new();
    let profiles = scratch.dir().join("profiles");
    let Some(program) = build_with_coverage(scratch.dir()) else { return };
    let mut command = Command::new(program);
    command.args(scratch.sigshm([HELLO]).get_args()).env_remove("NO_COLOR").stdin(Stdio::null());
    command.env("LLVM_PROFILE_FILE", profiles.join("%p-%m.profraw"));
    with_default_signals(&mut command);
    let finished = run(command);
    finished.assert_delivered(HELLO.len(), HELLO);
    assert_eq!(finished.stderr, "");

    let files = fs::read_dir(&profiles).expect("a profile was written").flatten();
    let written: Vec<PathBuf> = files.map(|file| file.path()).collect();
    let is_empty = |file: &PathBuf| fs::metadata(file).unwrap().len() == 0;
    assert!(!written.is_empty() && !written.iter().any(is_empty), "one is empty: {written:?}");

    // The two may share a file, whose name then has the parent's PID. So what counts is inside.
    let Some(text) = profile(&written, scratch.dir()) else { return };
    for (function, who) in [
        ("4demo4demo", "the parent, before the fork"),
        ("6sender6sender", "the parent"),
        ("8listener8listener", "the child"),
        ("8listener7receive", "the child, which has got the message"),
    ] {
        assert!(count(&text, function) > 0, "{function}, of {who}: {text}");
    }
}

/// The program, built for this. `None`, and it says NOT TESTED, if this compiler cannot.
fn build_with_coverage(scratch: &Path) -> Option<PathBuf> {
    // A folder that is kept: the next time there is nothing to do.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("coverage");
    let mut cargo = tool("CARGO", "cargo");
    cargo.args(["build", "--bin", "sigshm", "--offline", "--locked", "--target-dir"]).arg(&target);
    // The second flag is what `cargo llvm-cov` sets too.
    cargo.env("RUSTFLAGS", "-C instrument-coverage --cfg coverage");
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "0");
    // What runs while it is built is measured too, and would leave that in the sources.
    cargo.env("LLVM_PROFILE_FILE", scratch.join("build-%p-%m"));
    if let Err(error) = Command::new(cargo.get_program()).arg("--version").output() {
        not_tested("a build for coverage", &format!("{cargo:?}: {error}"));
        return None;
    }
    // It takes eleven seconds on two idle processors.
    let built = Program::start(&mut cargo).finish_within(Duration::from_secs(300)).unwrap();
    for (part, why) in [
        ("profiler_builtins", "the compiler has no profiler"),
        ("linker `cc` not found", "there is no linker"),
    ] {
        if built.code != Some(0) && built.stderr.contains(part) {
            not_tested("a build for coverage", why);
            return None;
        }
    }
    assert_eq!(built.code, Some(0), "{cargo:?}: {}", built.stderr);
    // Below a folder of its own if cargo is configured to build for a target.
    let folders = fs::read_dir(&target).unwrap().flatten().map(|it| it.path());
    let folders = iter::once(target.clone()).chain(folders);
    let program = folders.map(|it| it.join("debug/sigshm")).find(|it| it.exists());
    Some(program.expect("it is built"))
}

/// What the profiles say, as text. `None`, and it says NOT TESTED, if nothing here can read them.
fn profile(files: &[PathBuf], scratch: &Path) -> Option<String> {
    let libraries = run(tool("RUSTC", "rustc").args(["--print", "target-libdir"]));
    let reader = Path::new(libraries.text().trim()).with_file_name("bin/llvm-profdata");
    if !reader.exists() {
        not_tested("what the profile counts", &format!("there is no {}", reader.display()));
        return None;
    }
    let merged = scratch.join("merged");
    let mut merge = Command::new(&reader);
    merge.arg("merge").args(files).arg("-o").arg(&merged);
    assert_eq!(run(&mut merge).code, Some(0), "{merge:?}");
    let mut show = Command::new(&reader);
    show.args(["show", "--all-functions", "--counts"]).arg(&merged);
    Some(run(&mut show).text().to_owned())
}

/// How often this function of the program was called. Its name is a part of what the compiler makes
/// of it, which is long.
#[track_caller]
fn count(text: &str, function: &str) -> u64 {
    let mut lines = text.lines();
    let is_it = |line: &str| line.contains("6sigshm") && line.ends_with(&format!("{function}:"));
    lines.find(|line| is_it(line)).expect(function);
    let count = lines.find_map(|line| line.trim().strip_prefix("Function count: "));
    count.expect("it has a count").parse().unwrap()
}

/// A tool of the compiler, without what the outer cargo has set for these tests. The variable says
/// which one it is.
fn tool(variable: &str, name: &str) -> Command {
    let mut command = Command::new(env::var_os(variable).unwrap_or(name.into()));
    command.env_clear().current_dir(env!("CARGO_MANIFEST_DIR"));
    let kept = ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "TMPDIR"];
    command.envs(kept.iter().filter_map(|it| Some((it, env::var_os(it)?))));
    command
}
