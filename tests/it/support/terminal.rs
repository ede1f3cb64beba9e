//! A terminal: what is to be seen after a program has written to it.

/// The lines that stand on a terminal of that size after this output, those that went out at its top included. An escape
/// sequence that is cut off at the end is yet to come.
///
/// It knows the sequences that progress needs. Others, colours among them, are a mistake.
pub(crate) fn screen(output: &[u8], (columns, rows): (usize, usize)) -> Vec<String> {
    let output = String::from_utf8_lossy(output);
    let mut lines: Vec<Vec<char>> = vec![Vec::new()];
    let (mut row, mut column) = (0_usize, 0_usize);
    let mut rest = output.chars();
    while let Some(character) = rest.next() {
        match character {
            '\r' => column = 0,
            '\n' => row += 1,
            '\u{1b}' => {
                assert!(matches!(rest.next(), Some('[') | None), "{output:?}");
                let number: String = rest.clone().take_while(char::is_ascii_digit).collect();
                for _ in number.chars() {
                    rest.next();
                }
                match rest.next() {
                    Some('A') => {
                        let top = lines.len().saturating_sub(rows);
                        row = row.saturating_sub(number.parse().unwrap_or(1)).max(top);
                    }
                    Some('K') => lines[row].truncate(column),
                    Some('J') => {
                        lines[row].truncate(column);
                        lines.truncate(row + 1);
                    }
                    None => break,
                    Some(other) => panic!("`{number}{other}`: {output:?}"),
                }
            }
            _ => {
                if column == columns {
                    (row, column) = (row + 1, 0);
                }
                while lines.len() <= row {
                    lines.push(Vec::new());
                }
                let line = &mut lines[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = character;
                column += 1;
            }
        }
        while lines.len() <= row {
            lines.push(Vec::new());
        }
    }
    lines.into_iter().map(|line| line.into_iter().collect::<String>().trim_end().to_owned()).collect()
}
