import Foundation
import JSON
import Testing

@testable import ObjectStorage

/// The examples of AWS ("Signature Calculations for the Authorization Header: Transferring Payload in a Single Chunk").
@Suite("AWS Signature Version 4")
struct SignatureTests {
  private static let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

  struct Example: Sendable, CustomTestStringConvertible {
    let testDescription: String
    var method = "GET"
    var path = "/"
    var query: [(name: String, value: String)] = []
    var headers: [(name: String, value: String)] = []
    var payloadHash = SignatureTests.empty
    let signature: String
  }

  static let examples = [
    Example(
      testDescription: "GET object", path: "/test.txt", headers: [("Range", "bytes=0-9")],
      signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
    Example(
      testDescription: "PUT object", method: "PUT", path: "/test%24file.text",
      headers: [("Date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
      payloadHash: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
      signature: "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
    Example(
      testDescription: "GET bucket lifecycle", query: [("lifecycle", "")],
      signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
    Example(
      testDescription: "list objects", query: [("prefix", "J"), ("max-keys", "2")],
      signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
  ]

  @Test("signs as in AWS' examples", arguments: examples)
  func vectors(example: Example) throws {
    let credentials = S3Credentials(
      accessKeyID: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    let signer = SignatureV4(credentials: credentials, region: "us-east-1")
    let fields = signer.fields(
      for: .init(
        method: example.method, path: example.path, query: example.query,
        headers: example.headers + [("Host", "examplebucket.s3.amazonaws.com")], payloadHash: example.payloadHash),
      at: Date(timeIntervalSince1970: 1_369_353_600))
    let authorization = try #require(fields.first { $0.name == "authorization" }?.value)
    #expect(authorization.hasSuffix("Signature=\(example.signature)"))
    #expect(authorization.contains("Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"))
    #expect(fields.first { $0.name == "x-amz-date" }?.value == "20130524T000000Z")
  }

  @Test("HMAC-SHA-256 as in RFC 4231, with short and long keys")
  func hmac() {
    #expect(
      RunningHash.hexadecimal(SignatureV4.hmac(Array("Jefe".utf8), Array("what do ya want for nothing?".utf8)))
        == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    #expect(
      RunningHash.hexadecimal(
        SignatureV4.hmac(
          [UInt8](repeating: 0xAA, count: 131), Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8)))
        == "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")
  }

  @Test("names and values are encoded byte by byte; slashes in paths stay")
  func encoding() {
    #expect(SignatureV4.encode("a/b c~ü") == "a%2Fb%20c~%C3%BC")
    #expect(SignatureV4.encode("a/b", keepsSlash: true) == "a/b")
    #expect(SignatureV4.canonicalQuery([("b", "2"), ("a", "x y"), ("a", "1")]) == "a=1&a=x%20y&b=2")
  }

  @Test("a hash that stops anywhere and goes on in another process is the same")
  func runningHash() throws {
    let bytes = content(1000)
    for cut in [0, 1, 55, 56, 63, 64, 65, 128, 500, 999, 1000] {
      var first = RunningHash()
      first.add(bytes[..<cut])
      var second = try JSONCoder.decode([RunningHash].self, from: try JSONCoder.encode([first]))[0]
      second.add(bytes[cut...])
      var whole = RunningHash()
      whole.add(bytes)
      #expect(second.hexadecimal == whole.hexadecimal)
      #expect(second == whole)
    }
    #expect(RunningHash().hexadecimal == Self.empty)
    #expect(
      RunningHash.hexadecimal(of: "abc".utf8) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
  }

  @Test("pauses double up to the limit, and chance takes at most half")
  func backoff() {
    let backoff = Backoff(first: .milliseconds(200), max: .seconds(5))
    #expect(backoff.pause(before: 2, random: 0) == .milliseconds(200))
    #expect(backoff.pause(before: 4, random: 0) == .milliseconds(800))
    #expect(backoff.pause(before: 100, random: 0) == .seconds(5))
    for attempt in 2..<20 {
      let (most, least) = (backoff.pause(before: attempt, random: 0), backoff.pause(before: attempt, random: .max))
      #expect(least < most)
      #expect(least >= most / 2)
    }
  }

  @Test("credentials show themselves to nobody")
  func credentials() {
    let credentials = S3Credentials(accessKeyID: "id-4711", secretAccessKey: "key-4711", sessionToken: "token-4711")
    var dumped = ""
    dump(credentials, to: &dumped)
    for text in ["\(credentials)", String(reflecting: credentials), dumped] { #expect(!text.contains("4711")) }
  }

  @Test("dates in header fields")
  func dates() {
    #expect(HTTPDate.parse("Sun, 06 Nov 1994 08:49:37 GMT") == Date(timeIntervalSince1970: 784_111_777))
    for text in ["", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 8 GMT", "Sun, 99 Nov 1994 08:49:37 GMT"] {
      #expect(HTTPDate.parse(text) == nil)
    }
  }
}
