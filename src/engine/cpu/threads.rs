//! How many threads to use by default.

/// More than four threads are slower on phones because of heat.
#[cfg(any(target_os = "android", target_os = "ios"))]
const MOST: usize = 4;
#[cfg(not(any(target_os = "android", target_os = "ios")))]
const MOST: usize = 64;

/// The physical performance cores of this machine, as far as the system distinguishes them.
pub fn default_threads() -> usize {
    // What the process may use, considering affinity masks and container quotas.
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    performance_cores().unwrap_or(allowed).clamp(1, allowed.min(MOST))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn performance_cores() -> Option<usize> {
    sysfs::performance_cores(std::path::Path::new("/sys/devices/system/cpu"))
}

/// `hw.perflevel0` are the fastest cores; machines with a single kind of core don't have it.
#[cfg(target_vendor = "apple")]
fn performance_cores() -> Option<usize> {
    [c"hw.perflevel0.physicalcpu", c"hw.physicalcpu"].into_iter().find_map(|name| {
        let mut cores: libc::c_int = 0;
        let mut len = size_of_val(&cores);
        // SAFETY: the name ends with a zero, and the system writes at most `len` bytes to `cores`.
        let status = unsafe {
            let to = (&raw mut cores).cast();
            libc::sysctlbyname(name.as_ptr(), to, &mut len, std::ptr::null_mut(), 0)
        };
        if status == 0 && len == size_of_val(&cores) { usize::try_from(cores).ok() } else { None }
    })
}

#[cfg(windows)]
fn performance_cores() -> Option<usize> {
    use std::ptr::null_mut;
    use windows_sys::Win32::System::SystemInformation as system;

    let mut len = 0;
    let kind = system::RelationProcessorCore;
    // SAFETY: without a buffer to write to, the system only reports how many bytes it needs.
    unsafe { system::GetLogicalProcessorInformationEx(kind, null_mut(), &mut len) };
    // Aligned as the entries are.
    let mut entries = vec![0u64; len.div_ceil(8) as usize];
    // SAFETY: the place has at least `len` bytes.
    let succeeded = unsafe {
        system::GetLogicalProcessorInformationEx(kind, entries.as_mut_ptr().cast(), &mut len)
    };
    if succeeded == 0 {
        return None;
    }
    entries::performance_cores(bytemuck::cast_slice(&entries).get(..len as usize)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple", windows)))]
fn performance_cores() -> Option<usize> {
    None
}

/// What Windows reports, as variable-length entries.
#[cfg(any(windows, test))]
mod entries {
    /// The cores of the highest efficiency class, which is that of the fastest. An entry is a core:
    /// its kind and its size in bytes, 32 bits each, a byte of flags, its class, and the threads it
    /// runs.
    pub fn performance_cores(mut entries: &[u8]) -> Option<usize> {
        let mut classes = Vec::new();
        while !entries.is_empty() {
            let size = u32::from_le_bytes(entries.get(4..8)?.try_into().ok()?) as usize;
            classes.push(*entries.get(9)?);
            entries = entries.get(size.max(1)..)?;
        }
        let fastest = *classes.iter().max()?;
        Some(classes.iter().filter(|&&class| class == fastest).count())
    }
}

/// What Linux reports in files.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod sysfs {
    use std::collections::HashMap;
    use std::path::Path;

    /// If there are fewer big cores than this, cores of the next kind are added to reach it.
    const FEW: usize = 4;

    /// The cores below `cpus` that are worth a thread, one per core however many threads it runs at
    /// once. Offline cores, which have no topology, are skipped.
    pub fn performance_cores(cpus: &Path) -> Option<usize> {
        let read = |path: &Path| Some(std::fs::read_to_string(path).ok()?.trim().to_owned());
        // Speeds, keyed by the threads that share a core.
        let mut cores: HashMap<String, u64> = HashMap::new();
        for entry in std::fs::read_dir(cpus).ok()?.flatten() {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("cpu"));
            if number.is_none_or(|n| n.parse::<u32>().is_err()) {
                continue;
            }
            let cpu = entry.path();
            let Some(siblings) = read(&cpu.join("topology/thread_siblings_list")) else { continue };
            // `cpu_capacity` is on arm64 only; elsewhere the top frequency distinguishes the kinds.
            let speed = read(&cpu.join("cpu_capacity"))
                .or_else(|| read(&cpu.join("cpufreq/cpuinfo_max_freq")));
            cores.insert(siblings, speed.and_then(|s| s.parse().ok()).unwrap_or(0));
        }
        worth_a_thread(cores.into_values().collect())
    }

    /// Cores of one kind differ a little in top speed, and small cores are far below; but a system
    /// with two very fast cores and two or three almost as good is better served by four threads
    /// than by two.
    fn worth_a_thread(mut speeds: Vec<u64>) -> Option<usize> {
        speeds.sort_unstable_by(|a, b| b.cmp(a));
        let fastest = *speeds.first()?;
        let above = |percent| speeds.iter().filter(|&&s| s * 100 >= fastest * percent).count();
        Some(above(70).max(above(40).min(FEW)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_at_least_one_thread_and_no_more_than_the_process_may_use() {
        let n = default_threads();
        assert!(n >= 1 && n <= std::thread::available_parallelism().map_or(1, usize::from));
    }

    /// The siblings of a CPU that is online, and a file that gives its speed.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    type Cpu = (&'static str, Option<(&'static str, u64)>);

    /// Performance cores of a system of such CPUs; those that are `None` are offline.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn of_tree(cpus: &[Option<Cpu>]) -> Option<usize> {
        let tree = tempfile::tempdir().unwrap();
        for other in ["cpufreq", "cpuidle", "possible"] {
            std::fs::create_dir(tree.path().join(other)).unwrap();
        }
        for (i, cpu) in cpus.iter().enumerate() {
            let folder = tree.path().join(format!("cpu{i}"));
            std::fs::create_dir_all(folder.join("cpufreq")).unwrap();
            // An offline CPU keeps its folder but loses its topology.
            let Some((siblings, speed)) = cpu else { continue };
            std::fs::create_dir(folder.join("topology")).unwrap();
            let list = folder.join("topology/thread_siblings_list");
            std::fs::write(list, format!("{siblings}\n")).unwrap();
            if let Some((file, speed)) = speed {
                std::fs::write(folder.join(file), format!("{speed}\n")).unwrap();
            }
        }
        sysfs::performance_cores(tree.path())
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn linux_distinguishes_cores_from_threads_and_big_from_small() {
        let capacity = |i: &'static str, c| Some((i, Some(("cpu_capacity", c))));
        // Two kinds of four: the small ones are far below.
        let phone = [0, 1, 2, 3].map(|i| capacity(["0", "1", "2", "3"][i], 250));
        let big = [4, 5, 6, 7].map(|i| capacity(["4", "5", "6", "7"][i - 4], 1024));
        assert_eq!(of_tree(&[phone, big].concat()), Some(4));
        // Two very fast ones, two of half their speed, four small ones.
        let fast = [capacity("4", 1024), capacity("5", 1024)];
        let half = [capacity("6", 520), capacity("7", 520)];
        assert_eq!(of_tree(&[&phone[..], &half, &fast].concat()), Some(4));
        // More than four above 40 %, none but one above 70 %: four.
        let slower = ["1", "2", "3", "4", "5"].map(|i| capacity(i, 600));
        assert_eq!(of_tree(&[&[capacity("0", 1024)][..], &slower].concat()), Some(4));
        // A desktop: six cores of two threads each; frequencies differ a little.
        let frequency = |i, f| Some((i, Some(("cpufreq/cpuinfo_max_freq", f))));
        let cores = ["0,6", "1,7", "2,8", "3,9", "4,10", "5,11"];
        let desktop = cores.map(|i| frequency(i, 5_000_000 - 50_000 * i.len() as u64));
        assert_eq!(of_tree(&[desktop, desktop].concat()), Some(6));
        // A virtual machine says nothing of speeds.
        assert_eq!(of_tree(&[Some(("0", None)), Some(("1", None))]), Some(2));
        assert_eq!(of_tree(&[]), None);
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn cpus_after_an_offline_one_are_found() {
        let cpu = |i| Some((i, Some(("cpu_capacity", 1024))));
        assert_eq!(of_tree(&[cpu("0"), None, cpu("2"), None, cpu("4")]), Some(3));
        assert_eq!(of_tree(&[None, cpu("1")]), Some(1));
    }

    #[test]
    fn windows_reports_classes() {
        let entry = |class: u8, groups: u16| {
            let size = 32 + 16 * u32::from(groups);
            let mut bytes = vec![0u8; size as usize];
            bytes[4..8].copy_from_slice(&size.to_le_bytes());
            bytes[9] = class;
            bytes
        };
        let cores = [entry(1, 1), entry(0, 1), entry(1, 2), entry(0, 1), entry(0, 1)];
        assert_eq!(entries::performance_cores(&cores.concat()), Some(2));
        assert_eq!(entries::performance_cores(&[entry(0, 1), entry(0, 1)].concat()), Some(2));
        assert_eq!(entries::performance_cores(&[]), None);
        // Wrong sizes and truncated entries give no answer.
        assert_eq!(entries::performance_cores(&entry(0, 1)[..9]), None);
        assert_eq!(entries::performance_cores(&[0; 48]), None);
        assert_eq!(entries::performance_cores(&entry(0, 1)[..40]), None);
    }
}
