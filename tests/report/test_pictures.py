"""Regions for eyes: the most detailed one, in true pixels and one window."""

from __future__ import annotations

import numpy as np

from longexposure.report import pictures


def test_pictures_show_true_pixels_in_one_window() -> None:
    image = np.arange(16 * 16, dtype=np.uint16).reshape(16, 16) * 200
    picture = pictures.strip({"one": image, "other": image}, reference=image, zoom=3)
    one = picture[pictures.LABEL_PX : pictures.LABEL_PX + 48, :48]
    assert picture.shape == (pictures.LABEL_PX + 48 + pictures.GAP_PX, 2 * (48 + pictures.GAP_PX))
    np.testing.assert_array_equal(one[::3, ::3], one[2::3, 2::3])
    grey = one[::3, ::3].astype(int).ravel()
    assert (np.diff(grey) >= 0).all()
    assert grey[0] < 20
    assert grey[-1] > 235
    np.testing.assert_array_equal(one, picture[pictures.LABEL_PX : -pictures.GAP_PX, 54:102])


def test_the_region_shown_is_the_one_with_detail() -> None:
    image = np.full((120, 160), 1000.0, dtype=np.float32)
    image[70:100, 100:140] += 500 * (np.indices((30, 40)).sum(axis=0) // 4 % 2)
    image[:, 10:] += 3000  # one strong edge does not count for more
    rows_, columns = pictures.detailed_region(image, 40)
    assert 60 <= rows_.start <= 72
    assert 95 <= columns.start <= 105
