//! What an explained run tells, read back: its transcript, its calls, its timeline.

use super::*;

/// Explanations are indented by four columns. Lines of the transcript begin with `#` or a tab.
pub fn is_explanation(line: &str) -> bool {
    plain(line).starts_with("    ")
}

/// The lines of the transcript, with their colours.
pub fn without_explanations(text: &str) -> String {
    let lines = text.split_inclusive('\n');
    lines.filter(|line| !is_explanation(line)).collect()
}

/// The explanations, line by line, without their colours.
pub fn explanations(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| is_explanation(line));
    lines.map(plain).collect()
}

/// A system call, as it is told or as strace(1) has seen it: `words = returned`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// "sender" or "listener".
    pub who: String,
    pub words: String,
    pub returned: String,
}

impl Call {
    pub fn name(&self) -> &str {
        self.words.split('(').next().unwrap()
    }

    /// The value of a field: what follows `label=`, up to the end of the field.
    #[track_caller]
    pub fn field(&self, label: &str) -> &str {
        // Not the end of a longer name: uid= is in cuid= too.
        let at = [format!("{{{label}="), format!(" {label}=")];
        let at = at.iter().find_map(|label| self.words.split_once(label));
        let (_, rest) = at.unwrap_or_else(|| panic!("{label} is not in {}", self.words));
        rest.split([',', '}', ')']).next().unwrap()
    }

    /// How many calls it stands for: of those that a wait consists of, only the last one is told.
    pub fn times(&self) -> usize {
        let times = self.returned.split_once("(the last of ");
        times.map_or(1, |(_, times)| times.trim_end_matches(')').parse().unwrap())
    }

    /// Whether it asks for a segment's status.
    pub fn is_status(&self) -> bool {
        self.words.starts_with("shmctl(") && self.words.contains(", IPC_STAT, ")
    }
}

/// Something that an explained run tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A line of the transcript, without its colours.
    Line(String),
    Call(Call),
    /// So many more looks came to the same end as the one before.
    Looks(usize),
    /// A signal that came, as it is told: `SIGUSR1 {si_code=SI_USER, …} ---`.
    Signal {
        who: String,
        words: String,
    },
    /// What there is to learn, and what a process did without a system call.
    Words(String),
}

/// Everything that is told up to the timeline, in order; what was broken into lines is whole again.
pub fn told(text: &str) -> Vec<Told> {
    let lines = whole_lines(text).into_iter();
    lines.map(|(mark, words)| read(mark, words)).collect()
}

/// The lines up to the timeline, each with the mark that it begins with, if it has one.
fn whole_lines(text: &str) -> Vec<(&'static str, String)> {
    let mut told: Vec<(&str, String)> = Vec::new();
    let text = plain(text);
    let lines = text.lines();
    for line in lines.take_while(|line| !line.starts_with("    The run,")) {
        let mark = ["    sender    ", "    listener  ", "    * "];
        let mark = mark.into_iter().find(|mark| line.starts_with(mark));
        match (mark, told.last_mut()) {
            (Some(mark), _) => told.push((mark, line[mark.len()..].to_owned())),
            (None, Some((mark, whole)))
                if mark.len() > 4 && line.starts_with(&" ".repeat(mark.len())) =>
            {
                *whole += " ";
                *whole += &line[mark.len()..];
            }
            _ => told.push(("", line.to_owned())),
        }
    }
    told
}

fn read(mark: &str, words: String) -> Told {
    if mark.is_empty() {
        return if is_explanation(&words) { Told::Words(words) } else { Told::Line(words) };
    }
    if mark.trim() == "*" {
        let count = words.strip_prefix("Looked again, with the same result: ");
        let count = count.and_then(|count| count.strip_suffix('.')?.parse().ok());
        return count.map_or(Told::Words(words), Told::Looks);
    }
    let (words, _) = without_page(&words);
    if let Some(signal) = words.strip_prefix("--- ") {
        return Told::Signal { who: mark.trim().to_owned(), words: signal.to_owned() };
    }
    match words.rsplit_once(" = ") {
        Some((call, returned)) => Told::Call(Call {
            who: mark.trim().to_owned(),
            words: call.to_owned(),
            returned: returned.to_owned(),
        }),
        // What was done without a call returns nothing.
        None => Told::Words(words.to_owned()),
    }
}

/// What is told of a call, and its manual page if it is named there.
pub fn without_page(words: &str) -> (&str, Option<&str>) {
    match words.rsplit_once(' ') {
        Some((call, page)) if page.ends_with("(2)") || page.ends_with("(3)") => {
            (call.trim_end(), Some(page))
        }
        Some((call, "signal(7)")) => (call.trim_end(), Some("signal(7)")),
        _ => (words, None),
    }
}

/// What a process has done, and where there is more to read about it.
#[derive(Debug)]
pub struct Paged {
    /// "sender" or "listener".
    pub who: String,
    /// The manual page, if it has one.
    pub page: Option<String>,
    /// The page that is named there, if one is.
    pub named: Option<String>,
}

/// What the processes have done, in the order in which it is told.
pub fn told_pages(text: &str) -> Vec<Paged> {
    let lines = whole_lines(text).into_iter();
    let lines = lines.filter(|(mark, _)| ["sender", "listener"].contains(&mark.trim()));
    let paged = |(mark, words): (&str, String)| {
        let (words, named) = without_page(&words);
        let page = match words.split('(').next().unwrap() {
            // Two processes return from fork, but only one has called it.
            _ if words == "fork() = 0" => None,
            // What was done without a call.
            "" => None,
            name if name.starts_with("--- ") => Some("signal(7)".to_owned()),
            "ftok" => Some("ftok(3)".to_owned()),
            name => Some(format!("{name}(2)")),
        };
        Paged { who: mark.trim().to_owned(), page, named: named.map(str::to_owned) }
    };
    lines.map(paged).collect()
}

/// The calls that are told, in order.
pub fn told_calls(text: &str) -> Vec<Call> {
    let told = told(text).into_iter();
    let call = |it| {
        if let Told::Call(call) = it { Some(call) } else { None }
    };
    told.filter_map(call).collect()
}

/// The names of the calls that one process tells, in order.
pub fn names_told(text: &str, who: &str) -> Vec<String> {
    let calls = told_calls(text).into_iter().filter(|call| call.who == who);
    calls.map(|call| call.name().to_owned()).collect()
}

/// A row of the timeline, column by column. The first two are its heads.
#[derive(Clone, Debug)]
pub struct Row {
    pub time: String,
    pub left: String,
    pub middle: String,
    pub right: String,
}

/// The rows of the timeline, which ends the text.
#[track_caller]
pub fn timeline(text: &str) -> Vec<Row> {
    let text = plain(text);
    let mut lines = text.lines().skip_while(|line| !line.starts_with("    The run,"));
    let title = lines.next().expect("there is a timeline");
    assert!(title.contains("microseconds"), "{title}");
    lines
        .map(|line| {
            let row = format!("{line:<80}");
            assert!(row.is_ascii() && row.len() == 80, "{row:?}");
            assert!(!row.contains("microseconds"), "{row:?}");
            let column = |from, to| row[from..to].trim().to_owned();
            Row {
                time: column(4, 12),
                left: column(14, 36),
                middle: column(36, 58),
                right: column(58, 80),
            }
        })
        .collect()
}

/// The events of a timeline: the time in microseconds, who, what, and what crosses (`fork ->`).
#[track_caller]
pub fn events(text: &str) -> Vec<(u64, &'static str, String, String)> {
    let rows = timeline(text);
    let event = |row: &Row| {
        assert_ne!(row.left.is_empty(), row.right.is_empty(), "{row:?}");
        let (who, what) =
            if row.left.is_empty() { ("listener", &row.right) } else { ("sender", &row.left) };
        let name = row.middle.trim_matches(['<', '-', '>', ' ']).to_owned();
        let crosses = match (row.middle.starts_with('<'), row.middle.ends_with('>')) {
            (false, true) => name + " ->",
            (true, false) => "<- ".to_owned() + &name,
            (false, false) if name.is_empty() => name,
            _ => panic!("neither to one side nor to the other: {row:?}"),
        };
        (row.time.parse().unwrap(), who, what.clone(), crosses)
    };
    rows[2..].iter().map(event).collect()
}
