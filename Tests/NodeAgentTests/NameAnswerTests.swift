import IPAddressing
import Testing

@testable import NodeAgent

@Suite("Answers to DNS queries")
struct NameAnswerTests {
  private let domain = NameDomain("blue.internal")

  /// A query as resolvers send it.
  ///
  /// - Parameter counts: questions, answers, authorities, additional records.
  private func query(
    _ name: String, type: UInt8 = 28, class: UInt8 = 1, flags: [UInt8] = [1, 0], counts: [UInt8] = [1, 0, 0, 0],
    more: [UInt8] = []
  ) -> [UInt8] {
    let labels = name.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
    return [0xAB, 0xCD] + flags + counts.flatMap { [0, $0] } + labels + [0, 0, type, 0, `class`] + more
  }

  private func answer(_ query: [UInt8]) throws -> [UInt8]? {
    NameAnswer.answer(to: query, domain: try #require(domain))
  }

  /// The answer's header for this code, with or without the question.
  private func header(_ code: UInt8, flags: UInt8 = 0x81, hasQuestion: Bool = true) -> [UInt8] {
    [0xAB, 0xCD, flags, code, 0, hasQuestion ? 1 : 0, 0, 0, 0, 0, 0, 0]
  }

  @Test(
    "of names in the network's domain there is nothing more, which is said with authority",
    arguments: ["web.blue.internal", "WEB.Blue.INTERNAL", "blue.internal", "a.b.blue.internal"])
  func inside(name: String) throws {
    for type: UInt8 in [1, 28, 12, 255] {
      let query = query(name, type: type)
      #expect(try answer(query) == header(0, flags: 0x85) + query[12...])
    }
    let query = query(name, class: 255, flags: [0, 0])
    #expect(try answer(query) == header(0, flags: 0x84) + query[12...], "no recursion was wanted")
  }

  @Test(
    "other names are refused",
    arguments: ["", "internal", "example.com", "xblue.internal", "web.blue.internal.com", "5.0.0.10.in-addr.arpa"])
  func outside(name: String) throws {
    let query = query(name)
    #expect(try answer(query) == header(5) + query[12...])
  }

  @Test("other classes than IN are refused")
  func classes() throws {
    let query = query("version.blue.internal", type: 16, class: 3)
    #expect(try answer(query) == header(5) + query[12...])
  }

  @Test("a query with EDNS is a format error, so that resolvers ask again without, which OVN understands")
  func extended() throws {
    let options: [UInt8] = [0, 0, 41, 4, 0xD0, 0, 0, 0, 0, 0, 0]
    let query = query("web.blue.internal", type: 1, counts: [1, 0, 0, 1], more: options)
    #expect(try answer(query) == header(1) + query[12..<(query.count - options.count)])
  }

  @Test("answers and what is too short for a header are not answered")
  func silence() throws {
    #expect(try answer(query("web.blue.internal", flags: [0x81, 0x80])) == nil)
    for count in 0..<12 { #expect(try answer(Array(query("web.blue.internal").prefix(count))) == nil) }
  }

  @Test("other operations than queries are not implemented")
  func operations() throws {
    #expect(
      try answer(query("web.blue.internal", flags: [0x29, 0])) == header(4, flags: 0xA9, hasQuestion: false))
  }

  @Test("what is no question is a format error")
  func malformed() throws {
    let good = query("web.blue.internal")
    var bad = (12..<good.count).map { Array(good.prefix($0)) }
    bad += [[0, 0, 0, 0], [2, 0, 0, 0], [255, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0]].map { counts in
      query("web.blue.internal", counts: counts)
    }
    // A name that refers to itself, a label of the reserved kinds, names that are too long.
    for first: [UInt8] in [[0xC0, 12], [0x40, 0], [0x80, 0]] {
      bad.append(Array(good.prefix(12)) + first + [0, 0, 28, 0, 1])
    }
    bad.append(query(Array(repeating: "a", count: 127).joined(separator: ".") + ".bb.blue.internal"))
    bad.append(Array(good.prefix(12)) + [UInt8](repeating: 1, count: 1_220))
    for query in bad { #expect(try answer(query) == header(1, hasQuestion: false), "\(query)") }
  }

  @Test("whatever comes, an answer is for its query, is an answer, and is not longer")
  func anything() throws {
    var dice = SystemRandomNumberGenerator()
    let good = query("web.blue.internal", counts: [1, 0, 0, 1], more: [0, 0, 41, 4, 0xD0, 0, 0, 0, 0, 0, 0])
    for _ in 0..<20_000 {
      var query = good
      for _ in 0..<Int.random(in: 1...6, using: &dice) {
        query[Int.random(in: query.indices, using: &dice)] = UInt8.random(in: 0...255, using: &dice)
      }
      query.removeLast(Int.random(in: 0...query.count, using: &dice))
      guard let answer = try answer(query) else { continue }
      #expect(answer.count <= query.count && answer.prefix(2) == query.prefix(2), "\(query)")
      #expect(answer[2] & 0x80 != 0 && answer[6...11].allSatisfy { $0 == 0 }, "\(query)")
      #expect(try self.answer(answer) == nil)
    }
  }

  @Test("a domain is made of labels")
  func domains() {
    #expect(NameDomain("Blue.Internal") == NameDomain("blue.internal"))
    for text in ["", ".", "blue..internal", "blue.", String(repeating: "a", count: 64)] {
      #expect(NameDomain(text) == nil, "\(text)")
    }
  }

  @Test("each guest has a burst and then its rate; others are not disturbed by it")
  func rate() throws {
    let first = try #require(IPAddress("10.0.0.1"))
    let others = (2...250).compactMap { IPAddress("10.0.0.\($0)") }
    let second = try #require(others.first { AnswerRate.place(of: $0) != AnswerRate.place(of: first) })
    var rate = AnswerRate()
    let count = { (source: IPAddress, now: Int) in
      var count = 0
      while count <= AnswerRate.burst, rate.allows(source, now: now) { count += 1 }
      return count
    }
    #expect(count(first, 1_000) == AnswerRate.burst)
    #expect(count(first, 1_000 + AnswerRate.interval * 3) == 3)
    #expect(count(second, 1_000) == AnswerRate.burst)
    #expect(count(first, 1_000_000) == AnswerRate.burst)
  }
}
