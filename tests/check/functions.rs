//! What a signal handler must not call, and where that lies in the memory of a process.

use std::collections::HashMap;
use std::ops::Range;

use object::read::elf::{FileHeader, ProgramHeader};
use object::{Object, ObjectSymbol};

use crate::support::*;

/// Functions of the C library that signal-safety(7) does not list. (A library may use them where it
/// knows what it interrupts, so only the program's own calls count.)
const UNSAFE: &[&str] = &[
    "printf",
    "fprintf",
    "vprintf",
    "vfprintf",
    "dprintf",
    "sprintf",
    "snprintf",
    "vsnprintf",
    "puts",
    "fputs",
    "putchar",
    "putc",
    "fputc",
    "_IO_putc",
    "fwrite",
    "fflush",
    "perror",
    "fopen",
    "fclose",
    "fgets",
    "scanf",
    "syslog",
    "malloc",
    "calloc",
    "realloc",
    "free",
    "strdup",
    "exit",
    "shmget",
    "shmat",
    "shmdt",
    "shmctl",
    "ftok",
    "semget",
    "semop",
    "msgget",
    "msgsnd",
    "msgrcv",
    "mmap",
    "munmap",
    "sem_wait",
    "pthread_mutex_lock",
    "pthread_cond_signal",
    "pthread_create",
    "localtime",
    "ctime",
    "strftime",
    "getpwuid",
    "system",
    "popen",
    "usleep",
    "setlocale",
];

/// The same in languages that give their functions other names.
const UNSAFE_PARTS: &[&str] = &["io5stdio6_print", "io5stdio7_eprint", "_ZStls", "_ZNSo"];

/// System calls that are made for such functions only.
pub const UNSAFE_CALLS: &[(libc::c_long, &str)] = &[
    (calls::SYS_shmget, "shmget"),
    (calls::SYS_shmat, "shmat"),
    (calls::SYS_shmdt, "shmdt"),
    (calls::SYS_shmctl, "shmctl"),
    (libc::SYS_brk, "malloc (brk)"),
];

/// Where a process has these functions, and its program's own code.
#[derive(Debug, Default)]
pub struct Functions {
    at: HashMap<u64, String>,
    program: Vec<Range<u64>>,
}

impl Functions {
    pub fn of(pid: Pid) -> Self {
        let mut functions = Self::default();
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        for line in maps.lines() {
            // Where, rights, offset, device, inode, file; see proc_pid_maps(5).
            let mut columns = line.split_whitespace();
            let (range, rights) = (columns.next().unwrap(), columns.next().unwrap());
            let (offset, file) = (columns.next().unwrap(), columns.nth(2).unwrap_or_default());
            let (start, end) = range.split_once('-').unwrap();
            let [start, end] = [start, end].map(|it| u64::from_str_radix(it, 16).unwrap());
            if Path::new(file) == program && rights.contains('x') {
                functions.program.push(start..end);
            }
            // (Shared memory may be mapped from a device, which has no end.)
            if offset.bytes().all(|it| it == b'0') && Path::new(file).is_file() {
                functions.add(file, start);
            }
        }
        functions
    }

    fn add(&mut self, file: &str, start: u64) -> Option<()> {
        let data = fs::read(file).ok()?;
        let elf = object::File::parse(&*data).ok()?;
        // A program that is not position-independent has absolute addresses.
        let base = start.wrapping_sub(first_address(&data)?);
        for symbol in elf.dynamic_symbols().chain(elf.symbols()) {
            let Ok(name) = symbol.name() else { continue };
            let plain = name.trim_start_matches("__").trim_end_matches("_chk");
            let is_unsafe =
                UNSAFE.contains(&plain) || UNSAFE_PARTS.iter().any(|it| name.contains(it));
            if is_unsafe && symbol.is_definition() {
                // What the compiler makes of some calls of printf.
                let is_simple = matches!(plain, "puts" | "putchar");
                let name = if is_simple { format!("{plain} or printf") } else { plain.to_owned() };
                self.at.insert(base.wrapping_add(symbol.address()), name);
            }
        }
        Some(())
    }

    /// The function that begins here, if the program's own code has called it.
    pub fn called(&self, from: u64, at: u64) -> Option<&str> {
        let is_own = self.program.iter().any(|it| it.contains(&from));
        self.at.get(&at).filter(|_| is_own).map(String::as_str)
    }
}

/// Where the file's first byte is to lie in memory.
fn first_address(data: &[u8]) -> Option<u64> {
    fn of<Elf: FileHeader<Endian = object::Endianness>>(data: &[u8]) -> Option<u64> {
        let header = Elf::parse(data).ok()?;
        let endian = header.endian().ok()?;
        let parts = header.program_headers(endian, data).ok()?;
        let is_loaded = |it: &&Elf::ProgramHeader| it.p_type(endian) == object::elf::PT_LOAD;
        parts.iter().find(is_loaded).map(|it| it.p_vaddr(endian).into())
    }
    of::<object::elf::FileHeader64<object::Endianness>>(data)
        .or_else(|| of::<object::elf::FileHeader32<object::Endianness>>(data))
}
