import IPAddressing
import ArgumentParser
import ControlPlane
import HTTPClient
import ProgramSettings

/// Where requests may go whose URL a tenant gave.
struct OutgoingOptions: ParsableArguments {
  @Option(name: PlaneSetting.outgoingAllow.flag, help: PlaneSetting.outgoingAllow.help)
  var outgoingAllow: [String] = []
  @Flag(name: PlaneSetting.outgoingAllowHTTP.flag, help: PlaneSetting.outgoingAllowHTTP.help)
  var outgoingAllowHTTP = false
  @Option(name: PlaneSetting.outgoingCACert.flag, help: PlaneSetting.outgoingCACert.help)
  var outgoingCACert: String?

  func settings(_ source: SettingsReader) throws -> OutgoingSettings {
    let blocks = try source.list(PlaneSetting.outgoingAllow, outgoingAllow).map { text in
      guard let block = AddressBlock(text) else {
        throw ValidationError(
          "--\(PlaneSetting.outgoingAllow.name): '\(text)' is no range of addresses, such as 10.20.0.0/16 or fd00:1::/32, with no bit set behind its length"
        )
      }
      return block
    }
    return OutgoingSettings(
      allowed: blocks, allowsHTTP: try source.flag(PlaneSetting.outgoingAllowHTTP, outgoingAllowHTTP),
      trustRoots: try source.text(PlaneSetting.outgoingCACert, outgoingCACert).map { .file($0) } ?? .system)
  }
}
