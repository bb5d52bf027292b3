import Testing

@testable import AloftCLI

@Suite struct LocalCommandTests {
  @Test("completion scripts know nouns and verbs", arguments: ["bash", "zsh", "fish"])
  func completion(shell: String) async {
    let outcome = await Outcome.of(["completion", shell])
    #expect(outcome.status == .success)
    for word in ["node-pool", "serial-log", "uncordon", "upload", "explain", "idempotency-key", "yaml"] {
      #expect(outcome.output.contains(word), "\(word) in \(shell)")
    }
  }

  @Test("help and version need neither server nor token")
  func help() async {
    let help = await Outcome.of(["--help"])
    #expect(help.status == .success)
    #expect(help.output.contains("ALOFT_TOKEN"))
    #expect(help.errors.isEmpty)
    #expect(await Outcome.of(["version"]).output == "\(AloftVersion.number)\n")
    #expect(await Outcome.of(["--version"]).output == "\(AloftVersion.number)\n")
    for arguments in [["help", "exit-codes"], ["exit-codes"]] {
      let codes = await Outcome.of(arguments)
      #expect(codes.status == .success)
      #expect(codes.output.contains("130"))
    }
  }

  @Test("without a token the message says where to put one")
  func noToken() async {
    let outcome = await Outcome.of(["vm", "list"])
    #expect(outcome.status == .notAuthenticated)
    #expect(outcome.errors.contains("no API token for https://127.0.0.1:8443"))
    #expect(outcome.errors.contains("hint: Put the token into ALOFT_TOKEN"))
  }

  @Test("a token that would break a header, a bad address and a missing file are told apart")
  func badSettings() async throws {
    #expect(await Outcome.of(["vm", "list"], environment: ["ALOFT_TOKEN": "a\nb"]).status == .notAuthenticated)
    let address = await Outcome.of(["vm", "list", "--url", "example"], environment: ["ALOFT_TOKEN": "t"])
    #expect(address.status == .usage)
    let file = await Outcome.of(["vm", "list", "--token-file", "/nowhere/token"])
    #expect(file.status == .usage)
    #expect(file.errors.contains("/nowhere/token: the token cannot be read: No such file or directory"))
    let authority = await Outcome.of(["vm", "list", "--ca-cert", "/nowhere/ca"], environment: ["ALOFT_TOKEN": "t"])
    #expect(authority.errors.contains("/nowhere/ca"))
  }

  @Test("a server that is not there is exit code 6 with a hint")
  func unreachable() async {
    let outcome = await Outcome.of(
      ["vm", "list"], environment: ["ALOFT_TOKEN": "t", "ALOFT_URL": "http://127.0.0.1:1"])
    #expect(outcome.status == .serverFault)
    #expect(outcome.errors.contains("hint: Is the server running"))
  }

  @Test("a token in clear text is warned about, but not on loopback")
  func clearText() throws {
    func warns(_ url: String) -> Bool { ServerAddress(url: url, token: "t", trustRoots: .system).sendsTokenInClear }
    #expect(warns("http://aloft.example"))
    #expect(warns("http://127.0.0.1.example:80"))
    #expect(!warns("http://127.0.0.1:8080"))
    #expect(!warns("http://[::1]:8080/x"))
    #expect(!warns("https://aloft.example"))
  }
}
