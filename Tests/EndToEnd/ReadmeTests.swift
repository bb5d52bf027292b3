import Foundation
import LibvirtTestSupport
import TestSupport
import Testing

extension EndToEnd {
  /// What strangers type first.
  @Suite(.timeLimit(.minutes(10)))
  struct ReadmeTests {
    /// The shell blocks of the README's section with this title, as they stand.
    private func shellBlocks(of title: String) throws -> String {
      let text = try String(contentsOf: repositoryRoot.appending(path: "README.md"), encoding: .utf8)
      let section = try #require(text.components(separatedBy: "\n## ").first { $0.hasPrefix(title + "\n") })
      let blocks = section.components(separatedBy: "```sh\n").dropFirst().compactMap {
        $0.components(separatedBy: "```").first
      }
      try #require(!blocks.isEmpty)
      return blocks.joined(separator: "\n")
    }

    @Test("the README's commands work as they are written, by curl and by the command line")
    func commands() async throws {
      let cloud = try await Cloud.start()
      // A checkout after `make up`, as far as these commands see it.
      let checkout = cloud.folder + "/checkout"
      try FileManager.default.createDirectory(
        atPath: checkout + "/.aloft/images", withIntermediateDirectories: true)
      try FileManager.default.createSymbolicLink(
        atPath: checkout + "/.aloft/images/tiny.qcow2", withDestinationPath: try await GuestImage.path())
      try Data().write(to: URL(filePath: checkout + "/.aloft/env"))

      // As `make up` does: the commands are those of a member of the project.
      _ = try await cloud.send("POST", "/v1/users", #"{"name":"dev"}"#)
      _ = try await cloud.send("PUT", "/v1/projects/default/members/dev", #"{"role":"member"}"#)
      let token = try #require(
        try await cloud.send("POST", "/v1/tokens", #"{"user":"dev","project":"default","role":"member"}"#)["secret"]?
          .stringValue)

      // A refusal ends the script, which a person would see and curl alone would not say.
      let strict = "set -euo pipefail\ncurl() { command curl --fail-with-body \"$@\"; }\n"
      let byCurl = try await cloud.shell(strict + shellBlocks(of: "A machine by curl"), in: checkout, token: token)
      #expect(byCurl.contains(#""state":"running""#), "\(byCurl)")
      #expect(byCurl.contains(#""state":"stopped""#), "\(byCurl)")
      let machines = Set(byCurl.matches(of: /vm_[0-9a-z]{26}/).map { String($0.output) })
      #expect(machines.count == 1, "the repeated create made no second machine: \(byCurl)")
      #expect(try await cloud.differences() == "")

      let byCommandLine = try await cloud.shell(
        strict + shellBlocks(of: "The same by the command line"), in: checkout, token: token)
      #expect(byCommandLine.contains("web1"), "\(byCommandLine)")
      #expect(try await cloud.get("/v1/vms")["items"]?.arrayValue?.isEmpty == true)
      #expect(
        try await cloud.get("/v1/images")["items"]?.arrayValue?.count == 1, "only the image that was there before")
      #expect(try await cloud.differences() == "")
      try await cloud.stop()
    }
  }
}
