use burn::tensor::Device;
use gllm_core::Truncation;
use gllm_models::{GeneratorModel, Step, text::Tokenizer};
use std::time::Instant;
fn rss() -> String {
    std::fs::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .filter(|l| l.starts_with("VmHWM") || l.starts_with("VmRSS"))
        .map(|l| l.replace('\t', " "))
        .collect::<Vec<_>>()
        .join("; ")
}
fn main() {
    let path = std::env::args().nth(1).unwrap();
    let t = Instant::now();
    let model = GeneratorModel::load(path.as_ref(), &Device::flex()).unwrap();
    println!("load {:?} {}", t.elapsed(), rss());
    let t = Instant::now();
    let tok = Tokenizer::load(path.as_ref()).unwrap();
    println!("tok {:?} {}", t.elapsed(), rss());
    let text = "The quick brown fox jumps over the lazy dog. fn main() { println!(\"hello\"); } ".repeat(40);
    let ids = tok.encode(&[text], 100000, Truncation::Cut).unwrap()[0].ids.clone();
    let ids = &ids[..512];
    for _ in 0..3 {
        let mut cache = model.new_cache();
        let t = Instant::now();
        let h = model.forward(&mut [Step { tokens: ids, cache: &mut cache }]).unwrap();
        let n = h.dims()[1];
        let l: Vec<f32> = model.logits(h.slice([511..512, 0..n])).into_data().to_vec().unwrap();
        let e = t.elapsed().as_secs_f64();
        println!("prefill {:.3} s {:.0} tok/s", e, 512.0 / e);
        let mut id = arg(&l);
        let t = Instant::now();
        for _ in 0..64 {
            let h = model.forward(&mut [Step { tokens: &[id], cache: &mut cache }]).unwrap();
            let l: Vec<f32> = model.logits(h).into_data().to_vec().unwrap();
            id = arg(&l);
        }
        let e = t.elapsed().as_secs_f64();
        println!("decode {:.1} tok/s, {}", 64.0 / e, rss());
        let mut cache = model.new_cache();
        let t = Instant::now();
        let h = model.forward(&mut [Step { tokens: &ids[..16], cache: &mut cache }]).unwrap();
        let _l: Vec<f32> = model.logits(h.slice([15..16, 0..n])).into_data().to_vec().unwrap();
        println!("first of 16: {:?}", t.elapsed());
    }
}
fn arg(l: &[f32]) -> u32 {
    l.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0 as u32
}
