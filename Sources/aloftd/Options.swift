import ArgumentParser
import Foundation
import Logging
import Postgres
import ProgramSettings

/// What aloftd can be told. The texts are those of `--help`.
enum PlaneSetting {
  static let prefix = "ALOFT_"
  static let configVariable = "ALOFT_CONFIG"

  static let databaseURL = setting(
    "database-url", "PostgreSQL, such as postgresql://aloft@db/aloft or host=/run/postgresql dbname=aloft.")
  static let databaseConnections = setting(
    "database-connections", "How many connections to PostgreSQL to keep; one more listens. Default: 8.")
  static let share = setting(
    "share", "The directory with openapi/ and migrations/. Default: found above the program, or /usr/share/aloft.")
  static let logLevel = setting("log-level", "trace, debug, info, notice, warning, error or critical. Default: info.")
  static let listen = setting(
    "listen",
    "Address and port to listen on, such as 0.0.0.0:8443 or [::]:8443; several with commas. Default: 127.0.0.1:8443."
  )
  static let advertiseURL = setting(
    "advertise-url", "Where agents reach this very replica. Default: https:// and the first --listen.")
  static let tlsCert = setting(
    "tls-cert",
    "The server's certificate chain in PEM. Default: a certificate that Aloft's authority gives each replica.")
  static let tlsKey = setting("tls-key", "The key of --tls-cert in PEM.")
  static let tlsName = setting(
    "tls-name",
    "A name or address that clients reach this replica by, for the certificate of Aloft's authority; repeat it for several. Default: the host of --advertise-url, localhost, 127.0.0.1 and ::1."
  )
  static let caCert = setting(
    "ca-cert",
    "The certificate of the authority of a cloud from before it lay in the database, in PEM: it is taken over once.")
  static let caKey = setting("ca-key", "The key of --ca-cert in PEM; when it was taken over, the file may be deleted.")
  static let sealingKeyFile = setting(
    "sealing-key-file",
    "The file with the key that protects secrets in the database, made by aloftd sealing-key create; all replicas need the same."
  )
  /// The key itself, in the environment only: command lines and settings files are read by too many.
  static let sealingKey = setting("sealing-key", "The key of --sealing-key-file itself, in base64.")
  static let imageStore = setting("image-store", "The directory with the images' contents; all replicas share it.")
  static let imageS3Endpoint = setting(
    "image-s3-endpoint", "An S3-compatible store for images' contents, such as https://s3.example, without a path.")
  static let imageS3Bucket = setting("image-s3-bucket", "Its bucket; used instead of --image-store.")
  static let imageS3Region = setting("image-s3-region", "Its region. Default: us-east-1.")
  static let imageS3Prefix = setting(
    "image-s3-prefix", "What all keys begin with, such as aloft/, where others use the bucket too. Default: nothing.")
  static let imageS3Addressing = setting(
    "image-s3-addressing", "How the bucket stands in URLs: path or virtual_host. Default: path.")
  static let imageS3CACert = setting(
    "image-s3-ca-cert",
    "Authorities in PEM that the store's certificate comes from. Default: those of the operating system.")
  static let imageS3KeyFile = setting(
    "image-s3-key-file",
    "A file with two lines, the access key's id and the secret key; for a temporary key a third, its token.")
  /// The key itself, in the environment only.
  static let imageS3AccessKey = setting("image-s3-access-key", "The access key's id.")
  static let imageS3SecretKey = setting("image-s3-secret-key", "The secret key.")
  static let imageScratch = setting(
    "image-scratch",
    "A directory with room for the largest image: what is in S3 is put there to be looked at. Default: /var/tmp.")
  static let leaseSeconds = setting(
    "lease-seconds", "For how long a node counts as alive after its agent's last report. Default: 20.")
  static let rateLimit = setting(
    "rate-limit",
    "How many requests a second each token may make at this replica, ten times as many at once; 0: any number. Default: 100."
  )
  static let publicURL = setting(
    "public-url", "Where browsers reach the cloud, such as https://cloud.example. Default: --advertise-url.")
  static let oidcFile = setting(
    "oidc-file", "A YAML file with the issuers of OpenID Connect that may say who somebody is.")
  static let consolePath = setting(
    "console-path", "Where at this server a browser goes behind a login at an issuer. Default: /docs.")
  static let sessionSeconds = setting(
    "session-seconds", "How long after the login a browser's session ends. Default: 43200.")
  static let sessionIdleSeconds = setting(
    "session-idle-seconds", "How long after its last use a browser's session ends. Default: 1800.")
  static let outgoingAllow = setting(
    "outgoing-allow",
    "Addresses that URLs of tenants (webhooks) may lead to although they are not public, such as 10.20.0.0/16; repeat it for several. Default: none."
  )
  static let outgoingAllowHTTP = setting(
    "outgoing-allow-http", "Lets URLs of tenants (webhooks) be http, not only https.")
  static let outgoingCACert = setting(
    "outgoing-ca-cert",
    "Authorities in PEM that are trusted for URLs of tenants (webhooks). Default: those of the operating system.")
  static let ovnNorthbound = setting(
    "ovn-northbound",
    "OVN's northbound database, such as unix:/run/ovn/ovnnb_db.sock or ssl:10.0.0.1:6641; repeat it for the members of a cluster. Without it networks are kept and not made."
  )
  static let ovnSouthbound = setting(
    "ovn-southbound",
    "OVN's southbound database as nodes reach it, such as ssl:10.0.0.1:6642; repeat it for the members of a cluster.")
  static let ovnCert = setting("ovn-cert", "A certificate in PEM to show to northbound servers over TLS.")
  static let ovnKey = setting("ovn-key", "The key of --ovn-cert in PEM.")
  static let ovnCACert = setting("ovn-ca-cert", "Authorities in PEM that northbound servers' certificates come from.")
  static let underlayMTU = setting(
    "underlay-mtu", "The largest packet that the network between the nodes carries, in bytes. Default: 1500.")
  static let dnsDomain = setting(
    "dns-domain", "In which VMs have names unless their network has a domain of its own. Default: aloft.internal.")
  static let keepEventsDays = setting("keep-events-days", "For how many days events are kept. Default: 30.")
  static let keepOperationsDays = setting(
    "keep-operations-days", "For how many days operations that have ended are kept. Default: 30.")
  static let runtimeRole = setting(
    "runtime-role", "The role of PostgreSQL that aloftd serve connects as, where that is not the tables' owner.")
  static let keepAuditDays = setting(
    "keep-audit-days", "For how many days audit records are kept from now on. Default: as it was, 400 at first.")
  static let validateResponses = setting("validate-responses", "Check every answer against the contract, for tests.")

  static let all = [
    databaseURL, databaseConnections, share, logLevel, listen, advertiseURL, tlsCert, tlsKey, tlsName, caCert, caKey,
    sealingKeyFile, imageStore, imageS3Endpoint, imageS3Bucket, imageS3Region, imageS3Prefix, imageS3Addressing,
    imageS3CACert, imageS3KeyFile, imageScratch, leaseSeconds, rateLimit, publicURL, oidcFile, consolePath,
    sessionSeconds,
    sessionIdleSeconds, outgoingAllow, outgoingAllowHTTP, outgoingCACert, ovnNorthbound, ovnSouthbound, ovnCert, ovnKey,
    ovnCACert, underlayMTU, dnsDomain, keepEventsDays,
    keepOperationsDays, runtimeRole, keepAuditDays, validateResponses,
  ]

  private static func setting(_ name: String, _ explanation: String) -> Setting {
    Setting(name, prefix: prefix, explanation)
  }
}

/// What every command takes.
struct CommonOptions: ParsableArguments {
  @Option(help: "A YAML file with settings (ALOFT_CONFIG).")
  var config: String?

  @Option(name: PlaneSetting.databaseURL.flag, help: PlaneSetting.databaseURL.help)
  var databaseURL: String?

  @Option(name: PlaneSetting.databaseConnections.flag, help: PlaneSetting.databaseConnections.help)
  var databaseConnections: Int?

  @Option(name: PlaneSetting.share.flag, help: PlaneSetting.share.help)
  var share: String?

  @Option(name: PlaneSetting.logLevel.flag, help: PlaneSetting.logLevel.help)
  var logLevel: String?

  func source(environment: [String: String] = ProcessInfo.processInfo.environment) throws -> SettingsReader {
    try SettingsReader(
      PlaneSetting.all, config: config, configVariable: PlaneSetting.configVariable, environment: environment)
  }

  func logger(_ source: SettingsReader) throws -> Logger {
    let level: Logger.Level = try source.choice(PlaneSetting.logLevel, logLevel) ?? .info
    var logger = Logger(label: "aloftd") { label in StreamLogHandler.standardError(label: label) }
    logger.logLevel = level
    return logger
  }

  func database(_ source: SettingsReader, logger: Logger) throws -> Database {
    let configuration = DatabaseConfiguration(
      url: try source.required(
        PlaneSetting.databaseURL, databaseURL, example: "postgresql://aloft@db.example/aloft"),
      poolSize: try source.integer(PlaneSetting.databaseConnections, databaseConnections, 1...1000) ?? 8,
      applicationName: "aloftd")
    return try Database(configuration: configuration, logger: logger)
  }

  /// The directory with the contract and the migrations.
  func shareDirectory(_ source: SettingsReader) throws -> String {
    if let given = try source.text(PlaneSetting.share, share) { return given }
    var directory = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    while directory.path != "/" {
      if FileManager.default.fileExists(atPath: directory.appendingPathComponent("openapi/aloft.yaml").path) {
        return directory.path
      }
      directory.deleteLastPathComponent()
    }
    guard FileManager.default.fileExists(atPath: "/usr/share/aloft/openapi/aloft.yaml") else {
      throw ValidationError("openapi/aloft.yaml was not found; say with --share where it and migrations/ are")
    }
    return "/usr/share/aloft"
  }
}
