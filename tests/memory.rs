//! The weights are mapped, not copied: a process of its own, because peak memory is a process's.

#[cfg(target_os = "linux")]
#[test]
fn a_short_text_needs_little_more_than_the_weights() {
    let Some(folder) = gllm_tests::minilm() else { return };
    let client = gllm::Client::new(folder.to_str().expect("a path of UTF-8")).expect("a valid model");
    client.embeddings(["hello"]).generate().expect("an embedding");

    let status = std::fs::read_to_string("/proc/self/status").expect("on Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak_kib: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    let weights = folder.join("model.safetensors").metadata().expect("weights").len();
    let (peak_mb, weights_mb) = (peak_kib * 1024 / 1_000_000, weights / 1_000_000);
    println!("{}: peak {peak_mb} MB, weights {weights_mb} MB", client.device());
    assert!(peak_mb <= weights_mb + 60, "peak {peak_mb} MB, weights {weights_mb} MB");
}
