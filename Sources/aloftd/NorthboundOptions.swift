import ArgumentParser
import ControlPlane
import OVSDB
import ProgramSettings

/// Where OVN's northbound database is.
struct NorthboundOptions: ParsableArguments {
  @Option(name: PlaneSetting.ovnNorthbound.flag, help: PlaneSetting.ovnNorthbound.help)
  var ovnNorthbound: [String] = []
  @Option(name: PlaneSetting.ovnCert.flag, help: PlaneSetting.ovnCert.help)
  var ovnCert: String?
  @Option(name: PlaneSetting.ovnKey.flag, help: PlaneSetting.ovnKey.help)
  var ovnKey: String?
  @Option(name: PlaneSetting.ovnCACert.flag, help: PlaneSetting.ovnCACert.help)
  var ovnCACert: String?

  func settings(_ source: SettingsReader) throws -> NetworkingSettings {
    var settings = NetworkingSettings()
    settings.northbound = try source.list(PlaneSetting.ovnNorthbound, ovnNorthbound)
    for text in settings.northbound {
      do throws(OVSDBError) { _ = try Remote(text) } catch {
        throw ValidationError("--\(PlaneSetting.ovnNorthbound.name): \(error)")
      }
    }
    let files = [
      try source.text(PlaneSetting.ovnCert, ovnCert), try source.text(PlaneSetting.ovnKey, ovnKey),
      try source.text(PlaneSetting.ovnCACert, ovnCACert),
    ]
    guard files.contains(where: { $0 != nil }) else { return settings }
    guard let certificate = files[0], let key = files[1], let authorities = files[2] else {
      throw ValidationError("--ovn-cert, --ovn-key and --ovn-ca-cert go together")
    }
    settings.northboundTLS = TLSCredentials(certificateChain: certificate, privateKey: key, authorities: authorities)
    return settings
  }
}
