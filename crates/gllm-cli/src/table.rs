//! Rows of text as columns.

/// The rows, one a line, with each column as wide as its longest cell; the last one ends where its cell does.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(|column| if column + 1 < N { width(column) } else { 0 });
    let line = |row: &[String; N]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let rows = [["é", "b", "long"], ["cc", "", "x"], ["", "", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "é   b  long\ncc     x\n");
    }
}
