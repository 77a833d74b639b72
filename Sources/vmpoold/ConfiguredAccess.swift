import Access
import Glibc
import HTTPServer
import ManagementAPI

extension AccessPolicy {
  /// What the configuration file says at the moment of each request.
  init(_ access: CurrentAccess) {
    self.init()
    let serverUID = geteuid()
    isConfigured = { access.rules.isClosed }
    metricsAreOpen = { access.rules.metricsAreOpen }
    principal = { proof in
      switch proof {
      case .nothing: nil
      case .process(let uid, let gid, let groups):
        access.rules.principal(ofProcess: uid, gid: gid, groups: groups, serverUID: serverUID)
      case .certificate(let subject): access.rules.principal(ofCertificate: subject)
      }
    }
  }
}
