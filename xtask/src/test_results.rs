//! The results of many test binaries, summed.
//!
//! Source: the line `test result: ok. 5 passed; 0 failed; 1 ignored; …` that libtest closes each binary with.

use std::fmt;

/// How many tests did what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TestResults {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl TestResults {
    /// Adds what the line says, if it is the closing line of a test binary.
    pub(crate) fn add_line(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else {
            return;
        };
        for count in counts.split(';') {
            let Some((number, what)) = count.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

impl fmt::Display for TestResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::TestResults;

    #[test]
    fn closing_lines_are_summed_and_others_are_not() {
        let mut results = TestResults::default();
        for line in [
            "running 3 tests",
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s",
            "test tests::9 passed; 9 failed ... ok",
            "test result: FAILED. 2 passed; 3 failed; 4 ignored; 0 measured; 0 filtered out; finished in 1.20s",
            "test result: nonsense",
            "",
        ] {
            results.add_line(line);
        }
        assert_eq!(results, TestResults { passed: 7, failed: 3, skipped: 5 });
        assert_eq!(results.to_string(), "7 passed, 3 failed, 5 skipped");
    }
}
