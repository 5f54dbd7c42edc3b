"""The cases of failover, limits and budgets that plano answers, and the tests of each: a table of contents.

A number stays with its case. Many tests have it in their names, so that `pytest -k test_38` runs them.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ATTEMPTS = "upstream/test_attempts.py"
LIMITS = "resilience/test_limits.py"
BUDGETS = "resilience/test_budgets.py"
OUTAGES = "resilience/test_outages.py"
SHARED = "resilience/test_shared_limits.py"

CASES: dict[str, dict[int, tuple[str, ...]]] = {
    ATTEMPTS: {
        1: ("test_1_an_outage_of_a_moment_costs_a_wait",),
        2: ("test_2_all_keys_and_targets_together_are_tried_so_often_as_may_be",),
        3: ("test_3_one_deadline_for_all_targets",),
        4: ("test_4_the_only_target_is_asked_again_when_it_says",),
        5: ("test_5_a_long_wait_is_no_wait",),
        6: ("test_6_another_key_is_tried_at_once",),
        7: ("test_7_a_refused_key_is_the_gateways_fault",),
        8: ("test_8_an_empty_account_rests",),
        **dict.fromkeys((9, 11, 13, 14, 15), ("test_9_to_15_a_stream_that_fails_before_output_moves_on",)),
        10: ("test_10_after_text_a_failure_ends_the_stream",),
        12: ("test_12_a_context_error_inside_a_stream_goes_where_there_is_room",),
        16: ("test_16_an_end_after_text_is_an_error",),
        17: ("test_17_a_200_that_is_no_reply_moves_on",),
        18: ("test_18_a_late_first_token_moves_on",),
        19: (
            "test_19_a_comment_keeps_the_connection_while_it_waits",
            "test_19_a_failure_after_a_comment_is_an_error_event",
        ),
        20: ("test_20_nothing_is_tried_for_a_client_that_left",),
        21: ("test_21_what_a_client_left_behind_is_settled",),
        22: (
            "test_22_too_long_for_the_first_is_no_failure_of_its",
            "test_22_too_long_goes_nowhere_that_does_not_list_it",
        ),
        23: ("test_23_a_smaller_window_is_skipped",),
        24: ("test_24_a_content_filter_is_passed_on", "test_24_a_content_filter_moves_on_where_a_fallback_lists_it"),
        25: ("test_25_a_request_that_is_wrong_is_sent_once",),
        26: ("test_26_an_unknown_model_falls_back",),
        28: ("test_28_a_fallback_that_the_caller_may_not_use_is_skipped",),
        30: ("test_30_fallbacks_in_the_body", "test_30_unknown_or_forbidden_fallbacks_are_refused"),
        31: ("test_31_a_client_can_refuse_fallbacks",),
        32: ("test_32_an_only_target_is_always_tried",),
        33: ("test_33_with_all_out_all_are_in",),
        37: ("test_37_the_faster_of_two_answers",),
    },
    OUTAGES: {
        3: ("test_3_a_deadline_begins_no_other_attempt",),
        31: ("test_31_a_client_can_refuse_fallbacks_inside_a_stream",),
        34: ("test_34_repeats_do_not_multiply_an_outage",),
        35: (
            "test_35_a_real_client_does_not_multiply_the_attempts",
            "test_35_a_real_client_does_not_multiply_connections",
        ),
        36: ("test_36_a_sealed_history_loses_its_seals_where_it_falls_back",),
        37: ("test_37_both_targets_of_a_hedge_are_recorded_and_charged",),
    },
    LIMITS: {
        21: ("test_21_what_a_client_left_behind_is_estimated",),
        38: ("test_38_of_fifty_at_once_ten_pass",),
        39: ("test_39_a_place_is_free_when_a_connection_is_cut",),
        41: ("test_41_requests_that_find_no_place_count_for_no_rate",),
        42: ("test_42_tokens_are_counted_at_the_end",),
        43: ("test_43_a_request_above_the_limit_passes_when_the_bucket_is_full",),
        49: ("test_49_each_value_of_a_header_has_a_limit_of_its_own",),
        50: (
            "test_50_without_the_header_there_is_no_such_limit",
            "test_50_a_header_that_is_required_must_be_there",
        ),
        51: ("test_51_an_input_without_texts_counts_hardly_anything",),
    },
    BUDGETS: {
        29: ("test_29_a_free_model_falls_back_to_no_model_that_cannot_be_paid",),
        44: ("test_44_a_request_without_a_limit_reserves_no_more_than_its_share",),
        45: ("test_45_a_price_that_is_not_known_is_an_error_at_the_start",),
        46: (
            "test_46_a_spent_budget_sends_its_requests_to_its_fallback",
            "test_46_a_spent_budget_whose_fallback_fails_says_why",
        ),
        47: ("test_47_a_real_client_does_not_wait_for_a_spent_budget",),
    },
    SHARED: {
        38: ("test_38_of_fifty_at_two_gateways_ten_pass",),
        40: ("test_40_the_places_of_a_killed_gateway_are_free_after_their_time",),
        48: ("test_48_requests_are_answered_while_redis_stands_still",),
    },
    "resilience/test_secrets.py": {53: ("test_53_no_key_of_any_pool_comes_out",)},
    "config/test_problems.py": {27: ("test_a_problem_is_said_with_its_line_and_key",)},
    "config/test_aliases.py": {27: ("test_aliases_load_if_and_only_if_they_can_be_followed",)},
    "filters/test_admission.py": {
        52: (
            "test_hundreds_at_once_at_a_full_gateway_are_told_at_once",
            "test_a_full_gateway_says_so_in_the_words_of_each_dialect",
        )
    },
}


@pytest.mark.parametrize("file", CASES)
def test_the_tests_of_the_cases_exist(file: str) -> None:
    tree = ast.parse((TESTS / file).read_text())
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    named = {name for names in CASES[file].values() for name in names}
    assert named <= defined


def test_every_case_has_a_test() -> None:
    assert sorted({number for cases in CASES.values() for number in cases}) == list(range(1, 54))
