//! How many threads to use where the caller does not say.

/// Small cores and heat make more than four threads slower on phones.
#[cfg(any(target_os = "android", target_os = "ios"))]
const MOST: usize = 4;
#[cfg(not(any(target_os = "android", target_os = "ios")))]
const MOST: usize = 64;

/// The physical performance cores of this machine, as far as the system tells them apart.
pub fn default_threads() -> usize {
    // What the process may use: affinity masks and container quotas counted.
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    performance_cores().unwrap_or(allowed).clamp(1, allowed.min(MOST))
}

/// Cores of the fastest kind, one a core however many threads it runs at once.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn performance_cores() -> Option<usize> {
    use std::collections::HashSet;
    let read = |cpu: usize, file: &str| {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/{file}");
        std::fs::read_to_string(path).ok().map(|s| s.trim().to_owned())
    };
    let mut cores = Vec::new();
    let mut siblings = HashSet::new();
    for cpu in 0.. {
        let Some(group) = read(cpu, "topology/thread_siblings_list") else { break };
        if siblings.insert(group) {
            // `cpu_capacity` is on arm64 only; elsewhere the top frequency tells the kinds apart.
            let speed = read(cpu, "cpu_capacity").or_else(|| read(cpu, "cpufreq/cpuinfo_max_freq"));
            cores.push(speed.and_then(|s| s.parse::<u64>().ok()).unwrap_or(0));
        }
    }
    let fastest = *cores.iter().max()?;
    // Cores of one kind differ a little in top frequency; small cores are far below.
    Some(cores.iter().filter(|&&speed| speed * 10 >= fastest * 7).count())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn performance_cores() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_at_least_one_thread_and_no_more_than_the_process_may_use() {
        let n = super::default_threads();
        assert!(n >= 1 && n <= std::thread::available_parallelism().map_or(1, usize::from));
    }
}
