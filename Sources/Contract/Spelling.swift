/// Guesses what a mistyped name was meant to be.
enum Spelling {
  /// The name at the smallest edit distance, if that is at most 2 (1 for short names).
  static func closest(to name: String, among names: [String]) -> String? {
    guard name.utf8.count <= 64 else { return nil }
    let allowed = name.utf8.count <= 4 ? 1 : 2
    let rated = names.map { (distance: distance(name, $0), name: $0) }
    return rated.filter { $0.distance <= allowed }.min { $0.distance < $1.distance }?.name
  }

  /// Levenshtein's distance over bytes.
  private static func distance(_ a: String, _ b: String) -> Int {
    let b = Array(b.utf8)
    var row = Array(0...b.count)
    for (i, x) in a.utf8.enumerated() {
      var diagonal = row[0]
      row[0] = i + 1
      for (j, y) in b.enumerated() {
        let next = min(row[j] + 1, row[j + 1] + 1, diagonal + (x == y ? 0 : 1))
        diagonal = row[j + 1]
        row[j + 1] = next
      }
    }
    return row[b.count]
  }
}
