import Testing

@testable import Contract

@Suite("Patterns")
struct PatternTests {
  static let table: [(String, String, Bool)] = [
    ("b", "abc", true), ("^b", "abc", false), ("c$", "abc", true), ("b$", "abc", false), ("^$", "", true),
    ("^$", "a", false), ("", "", true), ("", "x", true), ("^abc$", "abc", true), ("^abc$", "abc\n", false),
    ("^a.c$", "a\nc", false), ("^a.c$", "aéc", true), ("^[a-z][a-z0-9-]*$", "a-1", true),
    ("^[a-z][a-z0-9-]*$", "A-1", false), ("^[^a-c]+$", "xyz😀", true), ("^[^a-c]+$", "xbz", false),
    ("^(a|bc)+$", "abcbca", true), ("^(a|bc)+$", "abcb", false), ("^(?:ab){2,3}$", "abab", true),
    ("^(?:ab){2,3}$", "ab", false), ("^(?:ab){2,3}$", "abababab", false), ("^a{2}$", "aa", true),
    ("^a{2}$", "aaa", false),
    ("^a{2,}$", "aaaaa", true), ("^a{2,}$", "a", false), ("^a?b$", "b", true), ("^a??b$", "ab", true),
    ("^\\d{3}$", "123", true), ("^\\d$", "٣", false), ("^\\w+$", "a_1", true), ("\\s", "a\u{a0}b", true),
    ("^\\S+$", "a b", false), ("^\\.\\/\\-$", "./-", true), ("^[\\]\\-a]+$", "a]-", true), ("^[a-]+$", "-a", true),
    ("^\\u00e9$", "é", true), ("^\\x41$", "A", true), ("^é$", "e\u{301}", false), ("a|^b$", "xxa", true),
    ("a|^b$", "xb", false), ("^(a|)$", "", true), ("^[ -~]+$", "printable ~", true), ("^[ -~]+$", "tab\t", false),
    ("^(ssh-|ecdsa-|sk-)[ -~]+$", "ssh-ed25519 AAAA", true), ("(^a)|(b$)", "ab", true), ("x*", "y", true),
    ("^[a-z]([a-z0-9-]*[a-z0-9])?$", "a", true), ("^[a-z]([a-z0-9-]*[a-z0-9])?$", "a-", false),
  ]

  @Test("patterns match as ECMA-262 says", arguments: table)
  func matches(_ source: String, _ text: String, _ expected: Bool) throws {
    #expect(try Pattern(source).matches(text) == expected)
  }

  @Test(
    "what is not supported is refused",
    arguments: [
      "(?=a)", "(?!a)", "(?<=a)", "(?<n>a)", "\\1", "\\b", "\\p{L}", "(", ")", "[a", "a{2,1}", "a{x}", "*a", "a**",
      "^*",
      "[z-a]", "\\", "a{1001}", "]", "}",
    ])
  func refused(_ source: String) { #expect(throws: PatternError.self) { try Pattern(source) } }

  @Test("patterns that make other engines explode take linear time here")
  func hostile() throws {
    let text = String(repeating: "a", count: 100_000) + "!"
    for source in ["^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "(.*a){5}b", "^([a-z]+)*[0-9]$"] {
      #expect(try !Pattern(source).matches(text))
    }
  }

  @Test("a pattern whose automaton would be huge is refused at load")
  func tooComplex() { #expect(throws: PatternError.self) { try Pattern("(a|b)*a(a|b){20}") } }
}
