//! What each way to send a message costs: see `linux/latency.rs`. Only Linux has all it measures.

#[cfg(target_os = "linux")]
#[path = "linux/latency.rs"]
mod latency;

fn main() {
    #[cfg(target_os = "linux")]
    latency::main();
    #[cfg(not(target_os = "linux"))]
    println!("this benchmark is for Linux");
}
