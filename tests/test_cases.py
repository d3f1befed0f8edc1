"""Inputs that once failed, by number and kind, and the tests that state what is right for them."""

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

# "file: name of a test", several per case if its kind has several faces.
CASES = {
    "01 training and testing folders": (
        "layouts: test_folders_in_common_use_are_the_splits_that_their_names_say",
        "layouts: test_folders_that_could_be_either_are_refused_with_the_way_out",
        "layouts: test_the_first_line_of_a_training_names_the_classes",
    ),
    "02 images changed before resuming": (
        "fingerprint: test_a_training_is_not_resumed_on_other_images",
        "fingerprint: test_a_finished_run_warns_when_its_images_have_changed",
        "fingerprint: test_a_finished_run_that_is_asked_for_again_warns_of_other_images",
        "fingerprint: test_the_feature_cache_knows_images_and_labels",
        "fingerprint: test_runs_of_one_folder_that_changed_between_them_are_not_compared",
    ),
    "03 low range of 16 bits": (
        "pixels: test_16_bit_files_that_use_only_low_bits_look_like_the_picture_of_8_bits",
        "pixels: test_a_mask_of_0_and_1_is_black_and_white_and_a_stated_range_is_kept",
        "pixels: test_the_scans_of_a_set_are_scaled_alike_so_that_dark_ones_stay_darker",
        "pixels: test_a_run_reads_16_bit_images_as_its_training_images_were_read",
    ),
    "04 console encoding": ("hostile: test_a_console_that_cannot_encode_a_name_shows_an_escape",),
    "05 weights of samples and of classes": (
        "head_inputs: test_weights_of_samples_and_of_classes_are_not_taken_for_one_another",
    ),
    "06 inference mode": ("head_inputs: test_a_head_that_was_used_in_inference_mode_can_be_trained",),
    "07 default dtype": (
        "head_inputs: test_the_default_dtype_moves_no_class_vector",
        "head_inputs: test_the_default_dtype_moves_no_pixel",
    ),
    "08 meta device": ("head_inputs: test_a_head_can_be_built_on_the_meta_device_and_filled_later",),
    "09 left out in silence": (
        "layouts: test_files_with_other_endings_are_counted_per_ending_except_what_systems_leave",
        "layouts: test_files_that_are_images_by_content_are_told_to_be_renamed_and_others_to_be_converted",
        "layouts: test_what_is_left_out_is_in_the_report_of_the_dataset",
    ),
    "10 class names in pictures": (
        "pictures: test_a_letter_is_drawn_with_a_font_that_has_it",
        "pictures: test_a_class_whose_name_no_font_has_is_a_number_in_pictures_and_named_on_the_side",
    ),
    "11 sound pixels, bad metadata": (
        "pixels: test_sound_pixels_are_read_whatever_their_metadata_are",
        "pixels: test_a_wrong_checksum_of_what_pixels_need_is_a_reason_that_names_the_chunk",
        "pixels: test_a_tiff_with_odd_tags_is_read_upright",
    ),
    "12 fourth band as transparency": (
        "pixels: test_a_fourth_band_that_makes_the_whole_image_white_is_named",
        "pixels: test_a_set_counts_what_was_converted_and_images_of_a_single_colour",
    ),
    "13 copies of training images": (
        "read_report: test_copies_of_training_images_in_other_splits_are_counted_whatever_their_files_are",
        "read_report: test_images_under_two_classes_are_counted_and_blank_ones_are_no_copies",
        "read_report: test_arrays_are_searched_too",
    ),
    "14 no home": (
        "no_home: test_digits_and_folders_need_no_home",
        "no_home: test_a_download_says_which_folder_it_needs",
    ),
    "15 averaged checkpoints": ("head_inputs: test_the_mean_of_two_state_dicts_is_one",),
    "16 higher derivatives": (
        "head_inputs: test_the_dense_loss_has_what_cross_entropy_has_second_derivatives_and_functional_transforms",
    ),
    "17 composed and decomposed names": (
        "head_inputs: test_composed_and_decomposed_names_are_one_class",
        "image_folder: test_composed_and_decomposed_names_are_the_same_classes_in_the_same_order_with_the_same_split",
        "image_folder: test_classes_to_hold_out_may_be_typed_in_either_form_of_unicode",
        "published: test_class_folders_may_be_unpacked_in_the_decomposed_form_of_unicode",
    ),
    "18 class named train": ("layouts: test_the_way_out_of_a_class_named_like_a_split_works",),
    "19 unlabelled test folder": (
        "layouts: test_folders_in_common_use_are_the_splits_that_their_names_say",
        "layouts: test_what_is_no_class_and_no_split_is_named",
    ),
    "20 hangup and USR1": (
        "resume: test_a_process_that_is_told_to_end_does_so_with_its_code",
        "streams: test_every_signal_ends_a_command_with_its_code_and_the_old_handler_comes_back",
        "streams: test_a_hangup_stays_ignored_if_it_is",
        "streams: test_ctrl_c_ends_a_loop_of_a_shell_after_saving",
    ),
    "21 empty batch and k": (
        "head_inputs: test_an_empty_batch_has_one_answer",
        "head_inputs: test_a_zero_feature_has_no_cosine_and_no_gradient",
        "head_inputs: test_no_class_is_no_prediction",
    ),
    "22 starting over, killed": (
        "replacement: test_a_kill_at_any_moment_of_starting_over_leaves_a_run_that_is_old_or_new",
        "replacement: test_until_its_first_checkpoint_a_new_training_changes_nothing_of_the_old_one",
        "replacement: test_what_older_versions_left_when_they_were_killed_can_be_started_again",
    ),
    "23 dollar in a class name": (
        "pictures: test_no_name_is_a_formula",
        "escapes: test_a_name_in_markdown_is_one_line_without_markup",
        "escapes: test_a_name_in_latex_has_no_command",
        "escapes: test_a_name_in_csv_is_no_formula",
        "hostile: test_no_name_is_markup_of_the_terminal",
    ),
    "24 Ctrl-C with tee": (
        "streams: test_ctrl_c_with_tee_saves",
        "streams: test_a_training_whose_reader_is_gone_saves_all_the_same",
        "streams: test_a_lost_stream_ends_no_training",
        "streams: test_a_terminal_that_is_closed_saves_and_with_nohup_ends_nothing",
        "streams: test_a_handler_prints_nothing_and_the_loop_says_once_that_it_is_heard",
    ),
    "25 starting over through a link": (
        "replacement: test_nothing_beyond_a_link_that_leaves_the_run_folder_is_touched",
        "replacement: test_files_of_a_run_that_are_links_are_replaced_and_not_followed",
        "replacement: test_a_run_folder_and_a_root_that_are_links_are_used_like_any_other",
    ),
    "26 a lock that is a link": ("replacement: test_a_lock_that_is_no_file_is_refused_and_never_emptied",),
    "27 a read-only run": ("hostile: test_a_result_is_shown_before_it_is_written",),
    "28 out of memory": ("hostile: test_what_a_machine_lacks_is_no_bug",),
    "29 constant features": (
        "analyses: test_constant_features_have_no_direction_to_compare_and_say_so",
        "analyses: test_a_metric_without_a_value_has_a_note",
        "pictures: test_features_without_variance_have_pictures_and_tables",
        "pictures: test_features_without_variance_are_projected",
        "pictures: test_a_class_without_an_angle_has_no_neighbour",
    ),
    "30 a file system without locks": (
        "runs: test_a_file_system_without_locks_is_a_warning",
        "replacement: test_a_file_system_that_cannot_sync_a_folder_or_change_modes_is_written_to",
    ),
    "31 fragments": (
        "replacement: test_fragments_are_swept_wherever_they_are_but_not_those_that_are_being_written",
        "replacement: test_a_fragment_says_whose_it_is_and_holds_what_its_writer_leaves",
    ),
    "32 escapes in file names": (
        "hostile: test_a_name_reaches_no_terminal_raw",
        "escapes: test_no_control_character_is_printable",
    ),
    "33 numbers beyond all limits": (
        "settings: test_a_value_beyond_all_limits_is_an_error_that_names_its_key",
        "settings: test_a_typed_value_beyond_all_limits_is_an_error_that_names_its_key",
    ),
    "34 backend of a notebook": ("pictures: test_no_environment_prevents_or_changes_a_picture",),
    "35 usetex in a matplotlibrc": ("pictures: test_the_settings_of_the_user_have_no_say",),
    "36 ood folder of one class": (
        "evaluation: test_strange_images_need_no_classes",
        "layouts: test_images_whose_classes_do_not_matter_need_none",
    ),
    "37 collapse from one image a class": (
        "analyses: test_one_sample_per_class_has_no_spread_and_no_metric_of_it",
        "analyses: test_transfer_of_one_sample_per_class_has_neighbours_and_no_retrieval",
    ),
    "38 published severities reversed": (
        "published_matching: test_severities_in_another_order_are_seen_in_every_corruption",
    ),
    "39 published wrong file blamed": (
        "published: test_the_array_that_does_not_fit_the_labels_is_named_wherever_it_stands",
        "published: test_only_the_arrays_that_are_requested_are_looked_at",
    ),
    "40 forced colours": ("hostile: test_only_a_terminal_gets_a_live_bar",),
    "41 tiny imagenet download layout": ("layouts: test_tiny_imagenet_as_unzipped_is_read_as_what_it_is",),
    "42 packed worse with fewer classes": (
        "geometries: test_fewer_classes_are_at_least_as_far_apart",
        "geometries: test_packed_is_monotone_in_many_dimensions",
    ),
    "43 save sorted by class": (
        "published: test_the_first_images_of_an_array_have_all_classes",
        "published: test_a_mixed_set_is_read_in_the_order_of_the_split",
    ),
    "44 more epochs than a finished run": (
        "cli: test_more_epochs_than_a_finished_run_are_refused_with_a_command_that_works",
    ),
    "45 confidence one ulp above one": ("metrics: test_a_confidence_is_above_one_from_a_millionth_on",),
}


@cache
def defined_in(file: str) -> set[str]:
    tree = ast.parse((TESTS / f"test_{file}.py").read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("case", CASES)
def test_every_case_has_its_tests(case):
    for test in CASES[case]:
        file, name = test.split(": ")
        assert name in defined_in(file), test
