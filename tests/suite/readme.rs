//! What the README, the lesson and the guarantees say of themselves. The first test is the README's
//! example.

use std::collections::HashSet;

use crate::support::*;

use std::process::Command;

#[test]
fn the_message_arrives() {
    let mut sigshm = Command::new(env!("CARGO_BIN_EXE_sigshm"));
    let output = sigshm.args(["--color=always", "hi"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\x1b[33m# Received: hi\x1b[0m\n"), "{text}");
    assert_eq!(output.status.code(), Some(0));
}

const README: &str = include_str!("../../README.md");
const LESSON: &str = include_str!("../../src/lesson.md");
const GUARANTEES: &str = include_str!("../../src/guarantees.md");

#[test]
fn the_readme_has_150_lines_at_most_and_begins_with_the_two_commands() {
    assert!(README.lines().count() <= 150);
    let (_, first) = README.split_once("\n```").unwrap();
    assert!(first.starts_with("sh\ncargo run -- \"Hello, world\"\ncargo test\n```"));
}

#[test]
fn the_readme_shows_both_pictures_the_commands_worth_typing_and_the_way_to_the_other_pages() {
    for part in [
        "](tests/pictures/transcript.svg)",
        "](tests/pictures/explained.svg)",
        "](src/lesson.md)",
        "](src/guarantees.md)",
        "cargo run -q -- --explain \"Hello, world\" | less -R\n",
        "cargo run -q -- --step \"Hello, world\"\n",
        "cargo run -q -- --listen\ncargo run -q -- --to ",
        "cargo run -q -- --via socket \"Hello, world\"\n",
        "cc -DWITHOUT_READY ",
        "`cargo install --path .`",
        "`sigshm: waiting: ",
        "`--signal WINCH`",
        "`--wait sleep`",
        "`NO_COLOR`",
        "`--color never`",
    ] {
        assert!(README.contains(part), "there is no {part:?}");
    }
}

#[test]
fn the_test_in_the_readme_is_the_one_above() {
    let (_, block) = README.split_once("```rust\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    assert!(block.starts_with("use ") && block.ends_with(";\n}\n"), "{block}");
    assert!(include_str!("readme.rs").contains(block), "{block}");
    assert_eq!(README.matches("```rust").count(), 1);
}

#[test]
fn each_file_that_is_linked_or_named_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for link in README.split("](").skip(1) {
        let (link, _) = link.split_once(')').unwrap();
        let (file, heading) = link.split_once('#').unwrap_or((link, ""));
        let is_elsewhere = link.starts_with("https://");
        assert!(is_elsewhere || root.join(file).exists(), "there is no {link}");
        let text = if file.is_empty() { README } else { LESSON };
        let headings = text.lines().filter(|it| it.starts_with('#'));
        let mut names =
            headings.map(|it| it.trim_matches(['#', ' ']).to_lowercase().replace(' ', "-"));
        assert!(heading.is_empty() || names.any(|it| it == heading), "there is no {link}");
    }
    let mut named = 0;
    for text in [README, LESSON, GUARANTEES] {
        let words = text.split(|it: char| it.is_whitespace() || "()[]`\",;:".contains(it));
        // (A pattern of sed is no file.)
        let words = words.filter(|it| !it.contains(['\\', '|', '*']));
        let words = words.map(|it| it.trim_end_matches(['.', '!', '?']));
        let endings = ["/", ".rs", ".c", ".h", ".py", ".md", ".svg", ".txt"];
        for file in words.filter(|word| endings.iter().any(|it| word.ends_with(it))) {
            // The guarantees name files of tests/suite/, and the README shows a file by its name.
            let folders =
                ["", "tests", "tests/suite", "tests/peers", "src/output", "src/sys", "src"];
            let is_there = folders.iter().any(|it| root.join(it).join(file).exists());
            // Somebody's own program is not here.
            assert!(is_there || file.contains("mine."), "there is no {file}");
            named += 1;
        }
    }
    assert!(named > 50, "{named}");
}

#[test]
fn the_lesson_has_ten_stops_of_a_question_a_command_a_screen_and_two_sentences() {
    let (lesson, _) = LESSON.split_once("\n# More to try").unwrap();
    let stops: Vec<&str> = lesson.split("\n## ").skip(1).collect();
    assert_eq!(stops.len(), 10);
    let mut minutes = 0;
    for (number, stop) in (1..).zip(&stops) {
        let (title, stop) = stop.split_once('\n').unwrap();
        assert!(title.starts_with(&format!("{number}. ")), "{title}");
        let time = title.split(['(', ' ']).rev().nth(1).unwrap();
        minutes += time.parse::<u32>().expect(title);
        let (predict, stop) = stop.split_once("\n```sh\n").expect(title);
        assert!(predict.starts_with("\n**Predict:** ") && predict.contains('?'), "{title}");
        let (command, stop) = stop.split_once("\n```\n").expect(title);
        assert!(!command.trim().is_empty(), "{title}");
        let (shown, answer) = stop.split_once("\n**Answer:** ").expect(title);
        let (_, shown) = shown.split_once("**What appears:**").expect(title);
        assert!(shown.contains("\n```text\n"), "{title}");
        let answer = answer.split("\n\n").next().unwrap();
        assert_eq!(sentences(answer).len(), 2, "{title}: {answer}");
    }
    assert!(minutes <= 38, "{minutes}: 45 leave no time for questions");
    for block in LESSON.split("```").skip(1).step_by(2) {
        let is_wide = |line: &str| line.chars().count() > 80;
        assert!(block.lines().count() <= 24 && !block.lines().any(is_wide), "{block}");
    }
    // What students get wrong, and where it is shown.
    let rows: Vec<&str> = lesson.lines().filter(|it| it.starts_with('|')).skip(2).collect();
    assert_eq!(rows.len(), 12);
    for row in rows {
        let shown_at: usize = row.split('|').nth(2).unwrap().trim().parse().unwrap();
        assert!((1..=10).contains(&shown_at), "{row}");
    }
}

#[test]
fn at_a_stop_that_shows_a_difference_the_control_is_typed_and_shown_beside_it() {
    for (stop, typed, shown) in [
        (
            1,
            ["no-flush \"Hello, world\" shared_path\n", "shared_path | grep"],
            ["All done", "\n2\n"],
        ),
        (1, ["./target/no-flush", "cargo run -q -- \"Hello, world\" | grep"], ["\n2\n", "\n1\n"]),
        (2, ["in getpid", "kill; do"], ["killed by SIGUSR1", "Received: hi"]),
        (3, ["./target/whole hi", "./target/no-exclusive hi"], ["0x0", "shmget: File exists"]),
        (4, ["(listen USR1 USR1 USR1", "(listen STOP"], ["=4510,", "=4523,"]),
        (5, ["calls -e inject", "calls ./target/debug/sigshm"], ["\nshmget\n", "\nrt_sigreturn\n"]),
        (7, ["shared_path exec |", "shared_path |"], ["PID=24535", "PID=24537"]),
        (8, ["in :", "wait; do"], ["<defunct>\n", "COMMAND\n$"]),
        (10, ["bench", "latency"], ["signal, spinning ", "signal, asleep "]),
    ] {
        let text = LESSON.split(&format!("\n## {stop}. ")).nth(1).unwrap();
        let text = text.split("\n## ").next().unwrap();
        for (language, parts) in [("sh", typed), ("text", shown)] {
            let block = text.split(&format!("```{language}")).nth(1).unwrap();
            let block = block.split("```").next().unwrap().to_owned() + "$";
            assert!(parts.iter().all(|it| block.contains(it)), "stop {stop}: {parts:?}: {block}");
        }
    }
}

/// What the article says, in its words. (It is not in this package.)
const ARTICLE: [&str; 27] = [
    "This notification does not contain much information",
    "signals that can't be ignored, like SIGKILL",
    "SIGTERM, which informs a process",
    "SIGWINCH, which says window size has changed",
    "there are 2 user signals",
    "running kill -l",
    "kill command is not used for killing a process",
    "By default of course it kills a process",
    "unique address space",
    "more than 1 process can write to and read from",
    "we don't get notifications",
    "code written in different languages",
    "size of the buffer we want to send and the actual text",
    "we clean up and finish the code",
    "color the outputs",
    "performs an infinite loop",
    "we're going to shut down the process in the handler",
    "we can set it back in the handler",
    "attempts to create a unique key",
    "gives us an identifier to a shared memory",
    "attach the memory",
    "casting the bytes to s_message structure",
    "Last, we detach the memory",
    "the message and it was fully understood",
    "a listener wouldn't need any loops",
    "without the second mechanism like signals",
    "we could gain quite a lot",
];

#[test]
fn each_sentence_of_the_article_that_claims_something_has_its_stop_or_page() {
    let (lesson, table) = LESSON.split_once("\n# The article, sentence by sentence\n").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| \"")?.split_once("\" | "));
    let mut quoted = Vec::new();
    for (quote, place) in rows {
        let place = place.strip_suffix(" |").unwrap();
        let heading = match place.strip_prefix("stop ") {
            Some(number) => format!("\n## {number}. "),
            None => format!("\n**{place}.** "),
        };
        assert!(lesson.contains(&heading), "there is no {place}");
        quoted.push(quote);
    }
    assert_eq!(quoted, ARTICLE);
}

#[test]
fn the_homework_has_three_tasks_with_commands_folded_hints_and_solutions_that_are_there() {
    let (_, homework) = LESSON.split_once("\n# Homework\n").unwrap();
    let (homework, _) = homework.split_once("\n# ").unwrap();
    let tasks: Vec<&str> = homework.split("\n**").skip(1).collect();
    assert_eq!(tasks.len(), 3);
    for task in tasks {
        let (task, hints) = task.split_once("<details><summary>Hints</summary>").expect(task);
        let words = task.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("Hand in") && task.contains("```sh\n"), "{task}");
        let (hints, _) = hints.split_once("</details>").expect(task);
        let (hints, solution) = hints.split_once("olution").expect(hints);
        assert!(hints.matches("\n- ").count() >= 4, "{hints}");
        assert!(solution.contains("tests/peers/"), "{solution}");
    }
}

#[test]
fn what_is_on_the_projector_names_no_goals_of_our_own() {
    let bench = include_str!("../bench/linux/latency.rs").lines();
    let printed = bench.filter(|line| !line.trim_start().starts_with("//"));
    for line in printed.chain(LESSON.lines()) {
        assert!(!line.contains("goal"), "{line}");
    }
}

#[test]
fn no_sentence_stands_in_two_of_the_texts() {
    let tour = include_str!("../../src/lib.rs").lines();
    let tour: Vec<&str> = tour.filter_map(|line| line.strip_prefix("//!")).collect();
    let explained = include_str!("../../src/explain/lessons.txt");
    let help = run(sigshm().arg("--help"));
    let mut seen = HashSet::new();
    for text in [README, LESSON, GUARANTEES, &tour.join("\n"), explained, help.text()] {
        let of_this = HashSet::<String>::from_iter(sentences(text));
        for sentence in of_this.into_iter().filter(|it| it.split(' ').count() > 4) {
            assert!(seen.insert(sentence.clone()), "twice: {sentence}");
        }
    }
    assert!(seen.len() > 200, "{}", seen.len());
}

/// The sentences of a text, without its blocks of code.
fn sentences(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let text = lines.join("\n");
    let prose: Vec<&str> = text.split("```").step_by(2).collect();
    // What stands between ** is a label, and each cell of a table is a text of its own.
    let parts = prose.join("\n\n").replace("**", "\n\n").replace('|', "\n\n");
    let mut sentences = Vec::new();
    for part in parts.split("\n\n") {
        // Without the marks of lists.
        let words: Vec<&str> = part.split_whitespace().filter(|it| it.len() > 1).collect();
        let is_end = |word: &&str| word.trim_end_matches(')').ends_with(['.', '?', '!']);
        sentences.extend(words.split_inclusive(is_end).map(|sentence| sentence.join(" ")));
    }
    sentences
}
