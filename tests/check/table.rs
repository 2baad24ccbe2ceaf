//! What was found out, on 80 columns.

use crate::promises::{ROWS, Tally};

/// What one program has kept and broken.
pub fn of_one(tallies: &[Tally]) -> String {
    let mut table = format!("{:61} {:>9} {:>7}\n", "promise", "runs", "broken");
    for (row, tally) in ROWS.iter().zip(tallies) {
        let start = format!("{:16} {:44}", row.name, row.text);
        let (row, why) = match (tally.not_applicable, tally.not_tested) {
            _ if tally.broken > 0 => {
                (figures(&start, tally), tally.evidence.as_ref().map(|it| in_full(it)))
            }
            (_, Some(why)) => (format!("{start} {:>17}", "NOT TESTED"), Some(in_full(why) + ".")),
            (Some(why), _) => {
                (format!("{start} {:>17}", "NOT APPLICABLE"), Some(in_full(why) + "."))
            }
            _ => (figures(&start, tally), None),
        };
        table += &(row + "\n");
        for line in why.iter().flat_map(|it| wrapped(it)) {
            table += &format!("    {line}\n");
        }
    }
    table
}

/// What a program has broken, and in how many of the runs.
pub fn broken(tallies: &[Tally]) -> Vec<String> {
    let broken = ROWS.iter().zip(tallies).filter(|(_, tally)| tally.broken > 0);
    let figures = broken.map(|(it, tally)| format!("{} {}/{}", it.name, tally.broken, tally.runs));
    let figures: Vec<_> = figures.collect();
    if figures.is_empty() { vec!["nothing".to_owned()] } else { figures }
}

/// A safeguard, and what a program without it has broken.
pub fn of_safeguard(name: &str, does: &str, broken: &[String]) -> String {
    let lines = broken.chunks(2).map(|it| it.join(", ")).collect::<Vec<_>>();
    format!("{name:15} {does:25} {}\n", lines.join(&format!("\n{:42}", "")))
}

fn figures(start: &str, tally: &Tally) -> String {
    format!("{start} {:>9} {:>7}", tally.runs, tally.broken)
}

/// With a capital letter at its beginning.
fn in_full(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map(|it| it.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// In lines of 72 characters, as far as words allow.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().unwrap();
        match line.chars().count() + word.chars().count() {
            0.. if line.is_empty() => line.push_str(word),
            ..72 => *line += &format!(" {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
