//! A cross-encoder of real size, XLM-RoBERTa-large with made-up weights, in every form that checkpoints come in: its
//! logits are those of transformers, and it takes no more memory than its weights and a tenth.
//!
//! `golden/xlm_roberta_large/make.py` says where the weights come from. They are written here, a form at a time, and
//! in one test: peak memory is a process's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::Device;
use gllm_models::{RerankEngine, RerankOptions};
use gllm_tests::{golden, is_ci, max_abs_difference, read_npy, skip};
use half::f16;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Elements that are made at once.
const CHUNK: usize = 1 << 18;
/// Where `torch.save` has the data of an entry start.
const ALIGNMENT: u16 = 64;

/// A line of `tensors.json`.
#[derive(Deserialize)]
struct Description {
    name: String,
    shape: Vec<u64>,
    scale: f32,
    offset: f32,
}

/// A tensor of the model, known by its place in the list of all.
struct Tensor {
    number: u64,
    description: Description,
}

#[derive(Deserialize)]
struct PairsFile {
    pairs: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

/// What the weights are stored as.
#[derive(Clone, Copy)]
enum Precision {
    F32,
    F16,
}

/// What writes the weights into a folder.
type WriteWeights = fn(&Path, &[Tensor]) -> io::Result<()>;

/// A form of checkpoint: what it is called, what writes it, and the file of its logits.
struct Form {
    name: &'static str,
    write: WriteWeights,
    logits: &'static str,
}

/// The last one's weights are converted, on the heap: the others' are mapped, so that nothing is left of them.
const FORMS: [Form; 4] = [
    Form { name: "one file of f32", write: write_f32, logits: "logits.npy" },
    Form { name: "shards of f32", write: write_shards, logits: "logits.npy" },
    Form { name: "pytorch_model.bin", write: write_pytorch, logits: "logits.npy" },
    Form { name: "one file of f16", write: write_f16, logits: "logits_f16.npy" },
];

#[test]
fn every_form_scores_like_transformers_in_the_memory_of_its_weights() {
    if !is_ci() && std::env::var_os("GLLM_LARGE_TESTS").is_none() {
        return skip("GLLM_LARGE_TESTS=1 runs the test, which needs 2.3 GB of disk, 3 GB of memory and minutes");
    }
    let descriptions: Vec<Description> = read_json("tensors.json");
    let tensors: Vec<Tensor> =
        (0..).zip(descriptions).map(|(number, description)| Tensor { number, description }).collect();
    for form in &FORMS {
        form.check(&tensors);
    }
}

impl Form {
    fn check(&self, tensors: &[Tensor]) {
        let name = self.name;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let start = Instant::now();
        self.write_model(folder.path(), tensors);
        let written = start.elapsed();

        reset_peak();
        let start = Instant::now();
        let engine = RerankEngine::load(folder.path(), &Device::flex()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (loaded, loaded_peak) = (start.elapsed(), peak());
        let start = Instant::now();
        let PairsFile { pairs } = read_json("pairs.json");
        let alone: Vec<_> = pairs.iter().flat_map(|(query, document)| logits(&engine, query, &[document])).collect();
        let computed = start.elapsed();
        // The first pairs have one query.
        let query = &pairs[0].0;
        let documents: Vec<_> = pairs.iter().take_while(|pair| pair.0 == *query).map(|pair| &pair.1).collect();
        let batched = logits(&engine, query, &documents);
        let peak = peak();

        let expected = read_npy(&directory().join(self.logits));
        let alone = max_abs_difference(&alone, &expected);
        let batched = max_abs_difference(&batched, &expected[..documents.len()]);
        println!("{name}: off by {alone:e} alone, {batched:e} in a batch");
        println!("    written in {written:.1?}, loaded in {loaded:.1?}, {} pairs in {computed:.1?}", pairs.len());
        assert!(alone <= 1e-4 && batched <= 1e-4, "{name}: {alone:e} alone, {batched:e} in a batch");

        let weights = tensors.iter().map(|tensor| tensor.elements() * 4).sum::<u64>();
        if let Some((peak, loaded_peak)) = peak.zip(loaded_peak) {
            let mb = |bytes| bytes / 1_000_000;
            println!("    peak {} MB, {} MB once loaded, weights {} MB", mb(peak), mb(loaded_peak), mb(weights));
            assert!(peak <= weights / 10 * 11, "{name}: peak {} MB, weights {} MB", mb(peak), mb(weights));
        }
    }

    /// Writes the model, whole, into `folder`.
    fn write_model(&self, folder: &Path, tensors: &[Tensor]) {
        let write = || {
            for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
                fs::copy(directory().join(file), folder.join(file))?;
            }
            (self.write)(folder, tensors)
        };
        match write() {
            Err(e) if e.kind() == ErrorKind::StorageFull => {
                panic!("no room for a model of 2.3 GB in {}; TMPDIR may name another place", folder.display())
            }
            result => result.unwrap_or_else(|e| panic!("{}: {e}", folder.display())),
        }
    }
}

fn directory() -> PathBuf {
    golden().join("xlm_roberta_large")
}

fn read_json<T: DeserializeOwned>(file: &str) -> T {
    let text = fs::read_to_string(directory().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// The logit of each document, in one request.
fn logits(engine: &RerankEngine, query: &str, documents: &[&String]) -> Vec<Vec<f32>> {
    let options = RerankOptions { raw_scores: true, ..Default::default() };
    let mut response = engine.rerank(query, documents, &options).unwrap_or_else(|e| panic!("{e}"));
    response.results.sort_by_key(|result| result.index);
    response.results.into_iter().map(|result| vec![result.score]).collect()
}

impl Tensor {
    fn elements(&self) -> u64 {
        self.description.shape.iter().product()
    }

    /// The same operations, in the same order, as `values` of `make.py`.
    fn value(&self, element: u64) -> f32 {
        let mut x = (self.number << 40) | element;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
        let unit = (x >> 40) as f32 / 8_388_608.0 - 1.0;
        unit * self.description.scale + self.description.offset
    }

    fn write(&self, out: &mut impl Write, precision: Precision) -> io::Result<()> {
        match precision {
            Precision::F32 => self.write_as(out, f32::to_le_bytes),
            Precision::F16 => self.write_as(out, |value| f16::from_f32(value).to_le_bytes()),
        }
    }

    fn write_as<const N: usize>(&self, out: &mut impl Write, to_bytes: impl Fn(f32) -> [u8; N]) -> io::Result<()> {
        let mut chunk = vec![[0; N]; CHUNK];
        for start in (0..self.elements()).step_by(CHUNK) {
            chunk.truncate((self.elements() - start) as usize);
            for (element, bytes) in (start..).zip(&mut chunk) {
                *bytes = to_bytes(self.value(element));
            }
            out.write_all(chunk.as_flattened())?;
        }
        Ok(())
    }
}

impl Precision {
    /// As safetensors call it, and the bytes of an element.
    fn dtype(self) -> (&'static str, u64) {
        match self {
            Self::F32 => ("F32", 4),
            Self::F16 => ("F16", 2),
        }
    }
}

fn write_f32(folder: &Path, tensors: &[Tensor]) -> io::Result<()> {
    write_safetensors(&folder.join("model.safetensors"), &tensors.iter().collect::<Vec<_>>(), Precision::F32)
}

fn write_f16(folder: &Path, tensors: &[Tensor]) -> io::Result<()> {
    write_safetensors(&folder.join("model.safetensors"), &tensors.iter().collect::<Vec<_>>(), Precision::F16)
}

/// As transformers spreads the tensors over files of at most 500 MB, or of one larger tensor.
fn write_shards(folder: &Path, tensors: &[Tensor]) -> io::Result<()> {
    let index = "model.safetensors.index.json";
    fs::copy(directory().join(index), folder.join(index))?;
    let ShardIndex { weight_map } = read_json(index);
    let mut shards: BTreeMap<&str, Vec<&Tensor>> = BTreeMap::new();
    for tensor in tensors {
        shards.entry(&weight_map[&tensor.description.name]).or_default().push(tensor);
    }
    shards.iter().try_for_each(|(shard, tensors)| write_safetensors(&folder.join(shard), tensors, Precision::F32))
}

/// By hand: the library wants each tensor's bytes as a whole.
fn write_safetensors(path: &Path, tensors: &[&Tensor], precision: Precision) -> io::Result<()> {
    let (dtype, size) = precision.dtype();
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), serde_json::json!({"format": "pt"}));
    let mut end = 0;
    for tensor in tensors {
        let Description { name, shape, .. } = &tensor.description;
        let start = end;
        end += tensor.elements() * size;
        let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]});
        header.insert(name.clone(), entry);
    }
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(8), b' ');

    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    tensors.iter().try_for_each(|tensor| tensor.write(&mut file, precision))?;
    file.flush()
}

/// The archive that `torch.save` writes, around the pickle of one that it wrote.
fn write_pytorch(folder: &Path, tensors: &[Tensor]) -> io::Result<()> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).with_alignment(ALIGNMENT);
    let mut archive = ZipWriter::new(BufWriter::new(File::create(folder.join("pytorch_model.bin"))?));
    archive.start_file("pytorch_model/data.pkl", options)?;
    archive.write_all(&fs::read(directory().join("data.pkl"))?)?;
    archive.start_file("pytorch_model/byteorder", options)?;
    archive.write_all(b"little")?;
    for tensor in tensors {
        archive.start_file(format!("pytorch_model/data/{}", tensor.number), options)?;
        tensor.write(&mut archive, Precision::F32)?;
    }
    archive.start_file("pytorch_model/version", options)?;
    archive.write_all(b"3\n")?;
    archive.finish()?.flush()
}

/// Has the peak of resident memory start anew from what is resident now.
fn reset_peak() {
    #[cfg(target_os = "linux")]
    fs::write("/proc/self/clear_refs", "5").expect("Linux lets a process reset its own peak");
}

/// The peak of resident memory, in bytes, where it is known.
fn peak() -> Option<u64> {
    let status = cfg!(target_os = "linux").then(|| fs::read_to_string("/proc/self/status").expect("on Linux"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    Some(peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024)
}
