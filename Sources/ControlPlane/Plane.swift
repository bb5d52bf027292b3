import DiskImages
import Execution
import Foundation
import Logging
import Postgres

/// What every part of the control plane works with. Stateless but for caches: all of it could be another replica's.
struct Plane: Sendable {
  let database: Database
  let wakeups: Wakeups
  let environment: Environment
  let inventory: NodeInventory
  let images: ImageContents
  let authorizer: Authorizer
  let refusals: RefusalLog
  let logins: LoginGate
  let issued: IssuedUsers
  let authorities: Authorities
  let sealing: SealingKey
  let leases: LeaseRenewals
  let streams: StreamSwitchboard
  let metrics: PlaneMetrics
  let gauges: GaugeCache
  let outgoing: OutgoingClient
  let settings: Settings
  let logger: Logger
  /// Whether this replica is about to stop.
  let isDraining = Lock(false)
}

/// What an operator may set.
public struct Settings: Sendable {
  /// How long a node counts as alive behind its agent's last report, in seconds.
  public var leaseSeconds: Int
  /// The largest JSON body, in bytes.
  public var bodyLimit: Int
  /// The largest image, in bytes.
  public var imageLimit: Int
  /// The largest disk that an image may be, in bytes.
  public var imageDiskLimit = 16 << 40
  /// Where agents reach this replica, such as `https://10.0.0.5:8443`.
  public var advertisedURL: String
  /// Check every answer against the contract, and answer 500 where it differs. For tests.
  public var validateResponses: Bool
  /// The newest migration that this program needs; nil: whether the database has it is not looked at.
  public var schema: Int?
  /// How often a token may be used, at each replica; nil: as often as it likes.
  public var rateLimit: RateLimit?
  /// Where requests may go whose URL a tenant gave.
  public var outgoing = OutgoingSettings()
  public var networking = NetworkingSettings()
  /// How long events and ended operations are kept, in days. How long audit records are is the database owner's business.
  public var keepEventsDays = 30
  public var keepOperationsDays = 30
  /// What an image may be and cost to look at.
  var imageLimits: ImageLimits {
    ImageLimits(maxVirtualSize: UInt64(imageDiskLimit), maxFileSize: UInt64(imageLimit))
  }
  /// Where browsers reach the cloud, such as `https://cloud.example`.
  public var publicURL: String
  public var sessions = SessionSettings()
  /// Who may say who somebody is, besides the database.
  public var issuers: [IssuerSettings] = []
  /// Where a browser goes behind a login by an issuer: a path of ours.
  public var consolePath = "/docs"
  /// What a password costs to try.
  public var passwordCost = PasswordCost.standard

  public init(
    leaseSeconds: Int = 20, bodyLimit: Int = 1 << 20, imageLimit: Int = 1 << 40, advertisedURL: String,
    validateResponses: Bool = false, schema: Int? = nil
  ) {
    self.leaseSeconds = leaseSeconds
    self.bodyLimit = bodyLimit
    self.imageLimit = imageLimit
    self.advertisedURL = advertisedURL
    publicURL = advertisedURL
    self.validateResponses = validateResponses
    self.schema = schema
  }
}
