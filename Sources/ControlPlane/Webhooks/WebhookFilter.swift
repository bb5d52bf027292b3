/// Which kinds of events a webhook gets: kinds, beginnings of kinds (`vm.*`), or all (`*`).
struct WebhookFilter: Sendable, Equatable {
  static let everything = "*"

  var patterns: [String]

  func lets(_ kind: String) -> Bool {
    patterns.contains { pattern in
      if pattern == Self.everything { return true }
      guard pattern.hasSuffix(".*") else { return pattern == kind }
      return kind.hasPrefix(pattern.dropLast())
    }
  }

  /// The place of the first pattern that no kind of event fits.
  var firstUnknown: Int? {
    patterns.firstIndex { pattern in
      !EventKind.allCases.contains { WebhookFilter(patterns: [pattern]).lets($0.rawValue) }
    }
  }
}
