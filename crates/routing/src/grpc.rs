use mainstem_proto::wire::routing::routing_service_server::{RoutingService, RoutingServiceServer};

use crate::machine::{RoutingMachine, TALKERS, WATCHERS};
use crate::{desk, queue};

mainstem_runtime::grpc_face!(
    RoutingMachine,
    RoutingServiceServer,
    RoutingService,
    mainstem_proto::wire::routing,
    {
        get_case => "GetCase": GetCaseRequest -> GetCaseResponse,
        list_cases => "ListCases": ListCasesRequest -> ListCasesResponse,
        open_case => "OpenCase": OpenCaseRequest -> OpenCaseResponse,
        accept_case => "AcceptCase": AcceptCaseRequest -> AcceptCaseResponse,
        claim_next => "ClaimNext": ClaimNextRequest -> ClaimNextResponse,
        start_case => "StartCase": StartCaseRequest -> StartCaseResponse,
        wait_case => "WaitCase": WaitCaseRequest -> WaitCaseResponse,
        resolve_case => "ResolveCase": ResolveCaseRequest -> ResolveCaseResponse,
        close_case => "CloseCase": CloseCaseRequest -> CloseCaseResponse,
        reopen_case => "ReopenCase": ReopenCaseRequest -> ReopenCaseResponse,
        transfer_case => "TransferCase": TransferCaseRequest -> TransferCaseResponse,
        set_priority => "SetPriority": SetPriorityRequest -> SetPriorityResponse,
        cancel_case => "CancelCase": CancelCaseRequest -> CancelCaseResponse,
        requeue_case => "RequeueCase": RequeueCaseRequest -> RequeueCaseResponse,
        issue_binding_code => "IssueBindingCode": IssueBindingCodeRequest -> IssueBindingCodeResponse,
        revoke_binding_code => "RevokeBindingCode": RevokeBindingCodeRequest -> RevokeBindingCodeResponse,
        list_bindings => "ListBindings": ListBindingsRequest -> ListBindingsResponse,
        end_binding => "EndBinding": EndBindingRequest -> EndBindingResponse,
        pause_queue => "PauseQueue": PauseQueueRequest -> PauseQueueResponse,
        resume_queue => "ResumeQueue": ResumeQueueRequest -> ResumeQueueResponse,
        list_queues => "ListQueues": ListQueuesRequest -> ListQueuesResponse,
        explain_decision => "ExplainDecision": ExplainDecisionRequest -> ExplainDecisionResponse,
        hand_over => "HandOver": HandOverRequest -> HandOverResponse,
        get_conversation => "GetConversation": GetConversationRequest -> GetConversationResponse,
        list_conversations => "ListConversations": ListConversationsRequest -> ListConversationsResponse,
        accept_conversation => "AcceptConversation": AcceptConversationRequest -> AcceptConversationResponse,
        reject_conversation => "RejectConversation": RejectConversationRequest -> RejectConversationResponse,
        transfer_conversation => "TransferConversation": TransferConversationRequest -> TransferConversationResponse,
        reply_conversation => "ReplyConversation": ReplyConversationRequest -> ReplyConversationResponse,
        close_conversation => "CloseConversation": CloseConversationRequest -> CloseConversationResponse,
        set_presence => "SetPresence": SetPresenceRequest -> SetPresenceResponse,
        list_staff => "ListStaff": ListStaffRequest -> ListStaffResponse,
    },
    streams {
        watch_desk => "WatchDesk": WatchDeskRequest -> WatchDeskResponse
            as WatchDeskStream, for TALKERS, by desk::open;
        watch_queue => "WatchQueue": WatchQueueRequest -> WatchQueueResponse
            as WatchQueueStream, for WATCHERS, by queue::open;
    }
);
