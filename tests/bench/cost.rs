//! What the story costs: see `linux/cost.rs`. Only Linux has all that it measures.

#[cfg(target_os = "linux")]
#[path = "linux/cost.rs"]
mod cost;

fn main() {
    #[cfg(target_os = "linux")]
    cost::main();
    #[cfg(not(target_os = "linux"))]
    println!("this benchmark is for Linux");
}
