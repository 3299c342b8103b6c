//! Rows of text: a table, lines of values, CSV.

use serde_json::Value;

use super::projection::Projection;
use super::yaml::with_floats;

/// Columns as wide as their widest value, two spaces between them; nothing at all without rows.
pub(super) fn table(projection: &Projection, rows: &[Value]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let heading = projection.0.iter().map(|column| column.label.clone()).collect();
    let mut lines: Vec<Vec<String>> = vec![heading];
    lines.extend(cells(projection, rows, ","));
    columns(&lines)
}

/// Lines of cells under one another.
fn columns(lines: &[Vec<String>]) -> String {
    let count = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let mut row = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            row.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

/// One line for each row, values between tabs.
pub(super) fn values(projection: &Projection, rows: &[Value]) -> String {
    cells(projection, rows, ";").iter().map(|cells| format!("{}\n", cells.join("\t"))).collect()
}

/// One line for each row, values between commas, quoted where they must be.
pub(super) fn csv(projection: &Projection, rows: &[Value], has_heading: bool) -> String {
    let mut text = String::new();
    if has_heading {
        let labels: Vec<String> =
            projection.0.iter().map(|column| column.label.to_ascii_lowercase()).collect();
        text.push_str(&format!("{}\n", labels.join(",")));
    }
    for cells in cells(projection, rows, ";") {
        let quoted: Vec<String> = cells.into_iter().map(quoted).collect();
        text.push_str(&format!("{}\n", quoted.join(",")));
    }
    text
}

fn cells(projection: &Projection, rows: &[Value], between: &str) -> Vec<Vec<String>> {
    let row = |resource: &Value| {
        let mut resource = resource.clone();
        with_floats(&mut resource);
        let cell = |text: String| text.replace(['\n', '\t'], " ");
        projection.0.iter().map(|column| cell(column.text(&resource, between))).collect()
    };
    rows.iter().map(row).collect()
}

fn quoted(cell: String) -> String {
    if cell.contains([',', '"']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}
