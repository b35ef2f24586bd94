use mainstem_proto::wire::routing::routing_service_server::{RoutingService, RoutingServiceServer};

use crate::machine::RoutingMachine;

mainstem_runtime::grpc_face!(
    RoutingMachine,
    RoutingServiceServer,
    RoutingService,
    mainstem_proto::wire::routing,
    {
        get_case => "GetCase": GetCaseRequest -> GetCaseResponse,
        list_cases => "ListCases": ListCasesRequest -> ListCasesResponse,
        accept_case => "AcceptCase": AcceptCaseRequest -> AcceptCaseResponse,
        claim_next => "ClaimNext": ClaimNextRequest -> ClaimNextResponse,
        start_case => "StartCase": StartCaseRequest -> StartCaseResponse,
        resolve_case => "ResolveCase": ResolveCaseRequest -> ResolveCaseResponse,
        cancel_case => "CancelCase": CancelCaseRequest -> CancelCaseResponse,
        requeue_case => "RequeueCase": RequeueCaseRequest -> RequeueCaseResponse,
    }
);
