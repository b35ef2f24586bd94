use mainstem_proto::wire::notification::notification_service_server::{
    NotificationService, NotificationServiceServer,
};

use crate::machine::NotificationMachine;

mainstem_runtime::grpc_face!(
    NotificationMachine,
    NotificationServiceServer,
    NotificationService,
    mainstem_proto::wire::notification,
    {
        send => "Send": SendRequest -> SendResponse,
        preview => "Preview": PreviewRequest -> PreviewResponse,
        cancel => "Cancel": CancelRequest -> CancelResponse,
        list_deliveries => "ListDeliveries": ListDeliveriesRequest -> ListDeliveriesResponse,
        get_preferences => "GetPreferences": GetPreferencesRequest -> GetPreferencesResponse,
        set_preferences => "SetPreferences": SetPreferencesRequest -> SetPreferencesResponse,
        get_budget => "GetBudget": GetBudgetRequest -> GetBudgetResponse,
        get_delivery => "GetDelivery": GetDeliveryRequest -> GetDeliveryResponse,
        begin_delivery => "BeginDelivery": BeginDeliveryRequest -> BeginDeliveryResponse,
        record_outcome => "RecordOutcome": RecordOutcomeRequest -> RecordOutcomeResponse,
    }
);
