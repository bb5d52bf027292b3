import ArgumentParser
import ProgramSettings
import Testing

@testable import aloftd

@Suite("Settings of aloftd")
struct PlaneSettingsTests {
  @Test("the help of serve or migrate tells the three names of each setting")
  func help() {
    let text =
      Aloftd.helpMessage(for: Serve.self, columns: 1000) + Aloftd.helpMessage(for: Migrate.self, columns: 1000)
    for setting in PlaneSetting.all {
      #expect(text.contains("--\(setting.name)"), "\(setting.name)")
      #expect(text.contains("(\(setting.variable); in the file: \(setting.name))"), "\(setting.name)")
    }
  }

  @Test("settings are found in the file and the environment, and what is wrong is told with its place")
  func places() throws {
    let file = try SettingsFile("share: /here\nlog-level: debug\nlease-seconds: 7\n")
    let options = try CommonOptions.parse(["--config", file.path, "--database-url", "host=db"])
    let source = try options.source(environment: ["ALOFT_SHARE": "/there"])
    #expect(try options.shareDirectory(source) == "/there")
    #expect(try options.shareDirectory(try options.source(environment: [:])) == "/here")
    #expect(try options.logger(source).logLevel == .debug)
    #expect(try source.integer(PlaneSetting.leaseSeconds, nil, 1...9) == 7)
    #expect(try source.required(PlaneSetting.databaseURL, options.databaseURL) == "host=db")
    #expect(
      refusal { _ = try source.required(PlaneSetting.tlsKey, nil) }
        == "--tls-key is missing; it can also be set as ALOFT_TLS_KEY")
    let wrong = try options.source(environment: ["ALOFT_LOG_LEVEL": "loud"])
    #expect(refusal { _ = try options.logger(wrong) }.hasPrefix("ALOFT_LOG_LEVEL is 'loud'; it is one of trace"))
  }

  @Test("addresses to listen on are numeric, with a port")
  func addresses() throws {
    let addresses = try Serve.addresses("127.0.0.1:1,[::1]:2")
    #expect(addresses.map(\.host) == ["127.0.0.1", "::1"] && addresses.map(\.port) == [1, 2])
    for text in ["127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", ":"] {
      #expect(refusal { _ = try Serve.addresses(text) }.contains("is no address with a port"), "\(text)")
    }
  }
}
