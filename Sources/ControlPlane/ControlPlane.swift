import class Contract.Contract
import Foundation
import HTTP
import Logging
import Postgres

/// One replica of the control plane. Replicas are equal and share nothing but the database and the image store.
///
/// ``respond(_:)`` answers requests; ``run()`` does what happens without being asked. The parts of ``run()`` can also be
/// stepped one by one, which is how the simulation decides who goes next.
public final class ControlPlane: Sendable {
  let plane: Plane
  private let api: API
  private let worker: Worker
  private let watch: NodeWatch
  private let janitor: Janitor
  /// Nil where the cloud has no OVN.
  private let networks: NetworkController?
  private let dispatcher: WebhookDispatcher
  private let sender: WebhookSender
  private let fetcher: ImageWorker

  public convenience init(
    contract: Contract, database: Database, images: ImageContents, sealing: SealingKey, settings: Settings,
    environment: Environment = .live, logger: Logger
  ) throws {
    try self.init(
      contract: contract, database: database, images: images, sealing: sealing, settings: settings,
      admission: .asDeclared, environment: environment, logger: logger)
  }

  package init(
    contract: Contract, database: Database, images: ImageContents, sealing: SealingKey, settings: Settings,
    admission: Admission, environment: Environment = .live, logger: Logger
  ) throws {
    let wakeups = Wakeups(database: database, environment: environment, logger: logger)
    let issued = IssuedUsers(
      issuers: try Issuers(settings.issuers, environment: environment, logger: logger), database: database,
      environment: environment)
    plane = Plane(
      database: database, wakeups: wakeups, environment: environment,
      inventory: NodeInventory(database: database, environment: environment), images: images,
      authorizer: Authorizer(
        tokens: TokenCache(
          database: database, environment: environment, idleSeconds: settings.sessions.idleSeconds, issuers: issued,
          logger: logger),
        rates: RateLimiter(settings.rateLimit, environment: environment), admission: admission),
      refusals: RefusalLog(database: database, environment: environment, logger: logger),
      logins: LoginGate(cost: settings.passwordCost, environment: environment), issued: issued,
      authorities: Authorities(database: database, sealing: sealing, environment: environment, logger: logger),
      sealing: sealing,
      leases: LeaseRenewals(
        database: database, environment: environment, seconds: settings.leaseSeconds, logger: logger),
      streams: StreamSwitchboard(
        database: database, wakeups: wakeups, environment: environment, url: settings.advertisedURL),
      metrics: PlaneMetrics(), gauges: GaugeCache(database: database, environment: environment),
      outgoing: OutgoingClient(settings.outgoing, logger: logger), settings: settings,
      logger: logger)
    var handlers = HandlerTable()
    ProjectHandlers(plane: plane).register(in: &handlers)
    MemberHandlers(plane: plane).register(in: &handlers)
    QuotaHandlers(plane: plane).register(in: &handlers)
    UserHandlers(plane: plane).register(in: &handlers)
    TokenHandlers(plane: plane).register(in: &handlers)
    SelfHandlers().register(in: &handlers)
    LoginHandler(plane: plane).register(in: &handlers)
    IssuerLoginHandlers(plane: plane).register(in: &handlers)
    SessionHandlers(plane: plane).register(in: &handlers)
    PasswordHandlers(plane: plane).register(in: &handlers)
    VMHandlers(plane: plane).register(in: &handlers)
    ImageHandlers(plane: plane).register(in: &handlers)
    VolumeHandlers(plane: plane).register(in: &handlers)
    SnapshotHandlers(plane: plane).register(in: &handlers)
    BackupHandlers(plane: plane).register(in: &handlers)
    BackupScheduleHandlers(plane: plane).register(in: &handlers)
    StoragePoolHandlers(plane: plane).register(in: &handlers)
    NetworkHandlers(plane: plane).register(in: &handlers)
    SubnetHandlers(plane: plane).register(in: &handlers)
    NICHandlers(plane: plane).register(in: &handlers)
    SecurityGroupHandlers(plane: plane).register(in: &handlers)
    ExternalNetworkHandlers(plane: plane).register(in: &handlers)
    RouterHandlers(plane: plane).register(in: &handlers)
    FloatingIPHandlers(plane: plane).register(in: &handlers)
    LoadBalancerHandlers(plane: plane).register(in: &handlers)
    NetworkPeeringHandlers(plane: plane).register(in: &handlers)
    OperationHandlers(plane: plane).register(in: &handlers)
    WebhookHandlers(plane: plane).register(in: &handlers)
    EventHandlers(plane: plane).register(in: &handlers)
    AuditHandlers(plane: plane).register(in: &handlers)
    PlacementHandlers(plane: plane).register(in: &handlers)
    NodeHandlers(plane: plane).register(in: &handlers)
    NodePoolHandlers(plane: plane).register(in: &handlers)
    NodeTokenHandlers(plane: plane).register(in: &handlers)
    ServiceHandlers(plane: plane, contract: contract).register(in: &handlers)
    api = try API(contract: contract, handlers: handlers, plane: plane)
    worker = Worker(
      database: database, wakeups: wakeups, images: images,
      reconcilers: [
        .vm: VMReconciler(), .volume: VolumeReconciler(), .snapshot: SnapshotReconciler(),
        .project: ProjectReconciler(environment: environment),
        .announcement: AnnouncementReconciler(),
        .backupSchedule: BackupScheduleReconciler(environment: environment, sealing: plane.sealing),
      ],
      environment: environment, logger: logger)
    dispatcher = WebhookDispatcher(database: database, wakeups: wakeups, environment: environment, logger: logger)
    sender = WebhookSender(
      database: database, wakeups: wakeups,
      transport: WebhookTransport(
        client: plane.outgoing, deadline: settings.outgoing.webhookDeadline, sealing: plane.sealing,
        environment: environment),
      metrics: plane.metrics, environment: environment, logger: logger)
    fetcher = ImageWorker(plane: plane)
    watch = NodeWatch(
      database: database, wakeups: wakeups, environment: environment, settings: settings, logger: logger)
    networks = try NetworkController(
      settings.networking, database: database, wakeups: wakeups, environment: environment, logger: logger)
    janitor = Janitor(
      database: database, images: images, settings: settings, environment: environment, logger: logger)
  }

  /// Answers one request.
  public func respond(_ request: Request) async -> HTTP.Response { await api.respond(request) }

  /// Passes the server's own counters on in `/metrics`.
  public func observe(_ statistics: @escaping @Sendable () -> Statistics) {
    plane.metrics.server.withLock { $0 = statistics }
  }

  /// Says in `/readyz` from now on that this replica is about to stop, and lets event streams, followed logs and held polls
  /// end: their clients go on at another replica, or at this one when it is back. To be called before its server is stopped.
  public func drain() {
    plane.isDraining.withLock { $0 = true }
    plane.wakeups.drain()
    plane.streams.drain()
  }

  /// Runs what happens without being asked, until cancelled.
  public func run() async {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { await self.plane.wakeups.listen() }
      group.addTask { await self.worker.run() }
      group.addTask { await self.plane.leases.run() }
      group.addTask { await self.plane.authorities.run() }
      group.addTask { await self.plane.authorizer.tokens.run() }
      group.addTask { await self.plane.refusals.run() }
      group.addTask { await self.plane.inventory.run() }
      group.addTask { await self.watch.run() }
      group.addTask { await self.janitor.run() }
      if let networks = self.networks { group.addTask { await networks.run() } }
      group.addTask { await self.dispatcher.run() }
      group.addTask { await self.sender.run() }
      group.addTask { await self.fetcher.run() }
      group.addTask { await DatabaseRoles.warn(self.plane.database, logger: self.plane.logger) }
    }
  }

  /// Runs the due rows of the work queue once. Returns how many there were.
  public func stepWorker() async throws -> Int { try await worker.step() }

  /// Writes the lease renewals that have come in.
  public func stepLeases() async throws { try await plane.leases.step() }

  /// Reads the authorities anew, and takes the next step of a rotation if it is due.
  public func stepAuthorities() async throws { try await plane.authorities.step() }

  /// Who signs, and who is trusted. Throws while the database holds no authority.
  public func authorities() async throws -> AuthoritySet { try await plane.authorities.current() }

  /// Writes when tokens and sessions were used.
  public func stepTokens() async throws { try await plane.authorizer.tokens.step() }

  /// Writes what callers were refused.
  public func stepRefusals() async throws { try await plane.refusals.step() }

  /// Turns the events that have come into deliveries to webhooks.
  public func stepWebhookDispatcher() async throws {
    while case .passed(let count?) = try await dispatcher.step(), count > 0 {}
  }

  /// Sends once what is due to webhooks, and waits for the outcomes. Returns to how many webhooks.
  public func stepWebhookSender() async throws -> Int { try await sender.step() }

  /// Fetches and finishes once what is due of images' contents, and waits for it. Returns for how many images.
  public func stepImages() async throws -> Int { try await fetcher.step() }

  /// Removes once what has had its time.
  public func stepJanitor() async throws { try await janitor.step() }

  /// Looks once at who has fallen silent or come back.
  public func stepNodeWatch() async throws { try await watch.step() }
}
